"""The recipes of docs/teaching.md load over a folder of data, and run on tiny settings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tuningfork.recipe import load_recipe

SHARED = Path(__file__).parents[3].parent / "shared" / "data"
needs_data = pytest.mark.skipif(not SHARED.is_dir(), reason=f"{SHARED} is not there")
MODEL = "model={scratch: {layers: 1, width: 32, heads: 2, feed_forward: 48, context: 1024, vocabulary: 600}}"
QUICK = [MODEL, f"data={SHARED}", "pretrain.steps=2", "pretrain.batch_rows=2", "runtime.threads=1"]


def finish(tmp_path: Path, name: str, *overrides: str) -> Path:
    command = [sys.executable, "-m", "tuningfork.cli", "run", name, "--out", str(tmp_path / "run"), *overrides]
    found = subprocess.run(
        command, capture_output=True, text=True, timeout=900, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert found.returncode == 0, found.stdout[-2000:] + found.stderr[-2000:]
    return tmp_path / "run"


@needs_data
@pytest.mark.parametrize("name", ["instruct-local", "curated-or-random"])
def test_they_load_over_the_folder(name: str) -> None:
    assert load_recipe(name, [f"data={SHARED}"]).stages[0].kind == "mixture"


def test_imitation_needs_no_folder() -> None:
    stages = {stage.id: stage for stage in load_recipe("imitation").stages}
    assert str(stages["imitation"].inputs["teacher"]) == "teacher/model" and str(stages["ask"].inputs["teacher.model"])


@needs_data
@pytest.mark.slow
def test_instruct_local_runs(tmp_path: Path) -> None:
    few = [f"answers.sources.{n}.rows=20" for n in range(3)]
    probe = [
        "sft.stop_probe.minimum=0",
        "sft.stop_probe.max_new_tokens=4",
        "sft.stop_probe.limit=2",
        "sft.heldout.max_new_tokens=4",
    ]
    out = finish(
        tmp_path, "instruct-local", *QUICK, *few, *probe, "sft.epochs=1", "sft.batch_rows=4", "sft.replay.rows=1"
    )
    figures = json.loads((out / "4-sft" / "manifest.json").read_text())["figures"]
    assert figures["format"] == "conversation" and figures["packed_rows"] > 1 and "stop_rate" in figures


@needs_data
@pytest.mark.slow
def test_curated_or_random_runs_and_judges(tmp_path: Path) -> None:
    few = [
        f"{stage}.{key}={value}"
        for stage in ("sft-curated", "sft-random")
        for key, value in (("steps", 2), ("batch_rows", 2))
    ]
    out = finish(tmp_path, "curated-or-random", *QUICK, *few, "likelihood.answers.preferred.limit=20")
    found = json.loads((out / "7-likelihood" / "likelihood.json").read_text())
    assert found["better"] in ("first", "second", "cannot_tell") and set(found["answers"]) == {
        "preferred",
        "curated",
        "random",
    }
    assert found["answers"]["preferred"]["before"] > 0 and found["answers"]["preferred"]["n"] <= 20
