"""The recipe `honest`: three prices of a wrong answer and nothing else apart; what is trained on is not what is tested."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tuningfork.recipe import load_recipe

PRICES = {"free": 0.0, "rl": 1.0, "dear": 4.0}


def test_the_three_trainings_differ_in_the_price_alone() -> None:
    stages = {stage.id: stage for stage in load_recipe("honest").stages}
    plain = {name: stages[name].settings.model_dump() for name in PRICES}
    assert {name: settings["reward"].pop("cost") for name, settings in plain.items()} == PRICES
    assert plain["free"] == plain["rl"] == plain["dear"]
    assert {str(stages[name].inputs["prompts"]) for name in PRICES} == {"world/prompts_train.jsonl"}
    assert str(stages["evaluate"].inputs["prompts"]) == "world/prompts_test.jsonl"
    assert str(stages["honesty"].inputs["questions"]) == "world/questions_test.jsonl"


@pytest.mark.slow
def test_it_runs_to_its_end_on_tiny_settings(tmp_path: Path) -> None:
    overrides = ["model={scratch: {layers: 1, width: 32, heads: 2, feed_forward: 48, context: 96, vocabulary: 700}}"]
    overrides += [
        "pretrain.steps=2",
        "pretrain.knowledge=null",
        "sft.steps=2",
        "sft.knowledge=null",
        "runtime.threads=1",
    ]
    for name in PRICES:
        overrides += [f"{name}.iterations=1", f"{name}.prompts_per_iteration=4", f"{name}.minibatches=1"]
        overrides += [f"{name}.scale_reward.by=none", f"{name}.rehearsal=null", f"{name}.monitor=null"]
    command = [sys.executable, "-m", "tuningfork.cli", "run", "honest", "--out", str(tmp_path / "run"), *overrides]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    found = subprocess.run(command, capture_output=True, text=True, timeout=900, env=environment, check=False)
    assert found.returncode == 0, found.stdout[-2000:] + found.stderr[-2000:]
    measured = json.loads((tmp_path / "run" / "8-honesty" / "honesty.json").read_text())
    assert set(measured) == {"fine-tuned", "cost-0", "cost-1", "cost-4"}
    assert all(set(one) == {"all", "held_out", "unknown", "unanswerable"} for one in measured.values())
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["measures"][0]["name"] == "invention"
