"""The null check of a chain: what preferences teach about harm is gone when chance says which answer is better."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

RECIPE = Path(__file__).parent / "tiny-manners.yaml"

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("manners")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("manners") / "run"
    done = subprocess.run(
        [sys.executable, "-m", "tuningfork.cli", "run", str(RECIPE), "--out", str(out)],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return out


def measured(folder: Path, stage: str, name: str = "good_share") -> dict[str, Any]:
    """One measure of the summary that a stage `evaluate` wrote."""
    (path,) = folder.glob(f"*-{stage}/summary.json")
    return next(one for one in json.loads(path.read_text())["measures"] if one["name"] == name)


def test_labels_improve_behaviour_and_shuffled_ones_do_not(folder: Path) -> None:
    gain, none = measured(folder, "gain"), measured(folder, "none")
    assert gain["before"] == none["before"]
    assert gain["difference"] > 0.15 and gain["ci95"][0] > 0
    assert none["difference"] < 0.05 and none["ci95"][0] <= 0
    assert measured(folder, "gain", "refused_well")["difference"] > 0.15
