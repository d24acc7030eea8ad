"""The recipe `hh-local` loads over a folder of data, shares its base with `reward-models-local`, and runs on tiny settings."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tuningfork.recipe import load_recipe

SHARED = Path(__file__).parents[3].parent / "shared" / "data"
needs_data = pytest.mark.skipif(not SHARED.is_dir(), reason=f"{SHARED} is not there")


@needs_data
def test_it_loads_and_shares_its_base() -> None:
    stages = load_recipe("hh-local", [f"data={SHARED}"]).stages
    assert [stage.id for stage in stages[2:]] == ["sft", "reward", "preference", "prompts", "evaluate"]
    others = load_recipe("reward-models-local", [f"data={SHARED}"]).stages
    assert [stage.settings for stage in stages[:2]] == [stage.settings for stage in others[:2]]
    assert stages[3].settings == others[2].settings, "the reward model too"


def few_rows(folder: Path) -> Path:
    """The first rows of each file that the recipe reads; more texts than dialogues, as in the whole of them."""
    files = (
        "imdb/unsup_part3", "tinystories/stories_cased", "alpaca_5k/train", "gpteacher_roleplay/roleplay", "hh_harmless/train",
        "hh_harmless/test",
    )  # fmt: skip
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        with gzip.open(SHARED / f"{name}.jsonl.gz", "rt") as source, gzip.open(f"{folder / name}.jsonl.gz", "wt") as to:
            to.writelines(line for _, line in zip(range(400 if name.startswith("imdb") else 40), source, strict=False))
    return folder


@needs_data
@pytest.mark.slow
def test_it_runs_on_although_the_card_warns(tmp_path: Path) -> None:
    tiny = "model={scratch: {layers: 1, width: 32, heads: 2, feed_forward: 48, context: 512, vocabulary: 600}}"
    overrides = [
        tiny, f"data={few_rows(tmp_path / 'data')}", "runtime.threads=1", "texts.heldout_share=0.2",
        "texts.sources.0.rows=300", "pretrain.steps=2", "pretrain.batch_rows=2", "sft.heldout.max_new_tokens=4",
        "preference.sampling.max_new_tokens=4", "evaluate.sampling.max_new_tokens=4", "prompts.most_words=50",
        *(f"{stage}.reading.skip_share=0.1" for stage in ("reward", "sft", "preference", "prompts")),
    ]  # fmt: skip
    command = [sys.executable, "-m", "tuningfork.cli", "run", "hh-local", "--out", str(tmp_path / "run"), *overrides]
    found = subprocess.run(
        command, capture_output=True, text=True, timeout=900, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert found.returncode == 0, found.stdout[-2000:] + found.stderr[-2000:]
    assert "reinforcement learning will refuse this reward model" in found.stdout + found.stderr
    summary = json.loads((tmp_path / "run" / "7-evaluate" / "summary.json").read_text())
    assert {"reward", "length"} <= {measure["name"] for measure in summary["measures"]}
