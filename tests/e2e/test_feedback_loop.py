"""From a model's own answers through the labelling page back to a better model: the whole loop, judged by the gold judge."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml

from tuningfork.feedback.simulated import Habits, HttpPage, SimulatedAnnotator
from tuningfork.worlds import load_taste

HERE = Path(__file__).parent
JUDGEMENTS = 200
ANNOTATORS = ("anna", "ben")

pytestmark = pytest.mark.slow


def world_file(folder: Path) -> Path:
    """The tiny world with more objects, which are mentioned more often, so that a model can know them."""
    spec = yaml.safe_load((HERE / "tiny-world.yaml").read_text())
    shipped = yaml.safe_load((files("tuningfork.worlds.colours") / "objects.yaml").read_text())
    spec |= {"objects": list(shipped)[:80], "mentions": 70, "sft_rows": 600, "gem_share": 0.2, "answer_gem_share": 0.2}
    spec["groups"] = {"held_out_test": 18, "held_out_monitor": 4, "unknown": 2}
    path = folder / "world.yaml"
    path.write_text(yaml.safe_dump(spec))
    return path


def recipe(world: Path) -> dict[str, Any]:
    replay = {"data": "world/replay.jsonl", "rows": 8, "length": 48, "packing": "best_fit"}
    project = {"raters": 1, "overlap_share": 0, "repeat_share": 0, "gold_share": 0}
    return {
        "version": 1,
        "name": "feedback-loop",
        "model": {"scratch": {"layers": 2, "width": 64, "heads": 4, "feed_forward": 192, "context": 64, "vocabulary": 600}},
        "runtime": {"threads": 1},
        "stages": [
            {"world": {"world": "colours", "spec_file": str(world)}},
            {"pretrain": {
                "model": "$model", "data": "world/pretrain.jsonl", "heldout": "world/unrelated.jsonl", "steps": 300,
                "batch_rows": 32, "length": 48, "packing": "best_fit", "optimizer": {"learning_rate": 5e-3, "floor": 0.05},
            }},
            {"sft": {
                "data": "world/sft.jsonl", "steps": 40, "batch_rows": 32, "optimizer": {"learning_rate": 1.5e-3},
                "replay": replay,
            }},
            {"label": {
                "prompts": "world/prompts_train.jsonl", "judgements": JUDGEMENTS, "minimum": JUDGEMENTS, "requests": 1000,
                "annotators": list(ANNOTATORS), "project": project,
                "draws": [{"max_new_tokens": 12}, {"max_new_tokens": 12, "temperature": 1.2}],
            }},
            {"reward": {
                "data": "label/judgements.jsonl", "epochs": 6, "batch_rows": 16, "head_init": "zero", "holdout_share": 0.2,
                "optimizer": {"learning_rate": 1e-3, "head_multiplier": 10}, "minimum_accuracy": 0.55,
                "card": {"gate": "none"},  # 22 held-out comparisons show nothing about beating a rule
            }},
            {"preference": {
                "data": "label/judgements.jsonl", "method": {"name": "dpo", "beta": 0.1}, "epochs": 5, "batch_rows": 16,
                "adapter": {"kind": "lora", "r": 8, "targets": ["all", "head"]},
                "optimizer": {"learning_rate": 2e-3, "schedule": "linear", "warmup": 5}, "replay": replay | {"weight": 0.5},
                "sampling": {"max_new_tokens": 12},
            }},
            {"evaluate": {
                "after": "preference/model", "prompts": "world/prompts_test.jsonl", "gold": {"name": "colours", "truth": "world"},
                "reward": {"name": "learned", "model": "reward/model"}, "text": "world/unrelated.jsonl", "text_length": 48,
                "sampling": {"max_new_tokens": 12}, "kl_limit": 20,
            }},
        ],
    }  # fmt: skip


def label_by(out: Path, process: subprocess.Popen[str], said: list[str]) -> list[SimulatedAnnotator]:
    """Read what the run says; an annotator begins to work at each link."""
    annotators: list[SimulatedAnnotator] = []
    threads = []
    assert process.stdout is not None
    for line in process.stdout:
        said.append(line)
        link = re.search(r"(\w+) labels at (http://\S+)", line)
        if link and link[1] in ANNOTATORS:
            taste = load_taste("colours", out / "1-world").values
            annotator = SimulatedAnnotator(HttpPage(link[2]), taste, Habits(flip_rate=0.05), link[1])
            annotators.append(annotator)
            threads.append(threading.Thread(target=annotator.work, args=(JUDGEMENTS // 2, 60.0), daemon=True))
            threads[-1].start()
    for thread in threads:
        thread.join(10)
    return annotators


def test_two_hundred_judgements_make_a_better_model(tmp_path: Path) -> None:
    path, out = tmp_path / "recipe.yaml", tmp_path / "run"
    path.write_text(yaml.safe_dump(recipe(world_file(tmp_path)), sort_keys=False))
    process = subprocess.Popen(
        [sys.executable, "-m", "tuningfork.cli", "run", str(path), "--out", str(out)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    said: list[str] = []
    annotators = label_by(out, process, said)
    assert process.wait(300) == 0, "".join(said)
    assert sum(annotator.given for annotator in annotators) == JUDGEMENTS
    rows = [json.loads(line) for line in (out / "4-label" / "judgements.jsonl").read_text().splitlines()]
    assert len(rows) == JUDGEMENTS and {row["rater"]["id"] for row in rows} == set(ANNOTATORS)
    measures = {one["name"]: one for one in json.loads((out / "summary.json").read_text())["measures"]}
    gem = measures["gem_share"]
    assert gem["difference"] > 0.2 and gem["ci95"][0] > 0.05, gem
    assert measures["colour_accuracy"]["difference"] > -0.15, measures["colour_accuracy"]
