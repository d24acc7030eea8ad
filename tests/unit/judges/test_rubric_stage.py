"""The stage `rubric`: a classifier is measured on answers of known class before anything is optimised on it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from tuningfork.errors import DataError
from tuningfork.judges.rubric import load_rubric
from tuningfork.reward.kinds import rubric as kind
from tuningfork.stages import rubric

Make = Callable[..., Any]
WORTH = {"should_refuse": 1, "should_answer": -1}
RUBRIC = {
    "classes": {"refusal": WORTH, "help": WORTH},
    "unreadable": WORTH,
    "question": "$prompt / $response / $classes",
}


class Told(kind.RubricReward):
    """A classifier that says what is planted: help where the answer says so, 0 mass for `hm`, wrong about every fifth row."""

    def __init__(self, path: Path) -> None:
        self.rubric = load_rubric(path)
        self.settings = kind.Settings(rubric="r", model="m")

    def _logprobs(self, items: Sequence[Any]) -> list[dict[str, float]]:
        return [self._say(item) for item in items]

    @staticmethod
    def _say(item: Any) -> dict[str, float]:
        if item.response == "hm":
            return {"A": -9.0, "B": -9.0}
        is_help = (item.response == "sure") != (item.metadata["number"] % 5 == 0)
        return {"A": -3.0, "B": -0.1} if is_help else {"A": -0.1, "B": -3.0}


def run(make_stage: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str = "stage", **changes: Any) -> Any:
    (tmp_path / "rubric.yaml").write_text(yaml.safe_dump(RUBRIC, sort_keys=False))
    kinds = {"sure": "help", "no": "refusal", "hm": "refusal"}
    answers = ["sure", "no"] * 20 + ["hm"] * 4
    rows = [
        {"prompt": f"{n}?", "completion": text, "class": kinds[text], "number": n, "should_refuse": False}
        for n, text in enumerate(answers)
    ]
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.setattr(kind, "load", lambda settings, sources: Told(Path(sources.inputs["rubric"].reference)))
    stage = make_stage(name, {"data": tmp_path / "data.jsonl", "classifier.rubric": tmp_path / "rubric.yaml"})
    values = {"classifier": {"rubric": "r", "model": "m"}, "data": "d", **changes}
    rubric.run(stage, rubric.StageSettings.model_validate(values))
    return stage


def test_agreement_confusions_and_what_is_unreadable(
    make_stage: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = run(make_stage, tmp_path, monkeypatch)
    # rows 0, 5, 10 ... 35 are told wrongly, the four of `hm` not at all: 32 of 44 are right
    assert stage.figures["agreement"] == pytest.approx(32 / 44) and stage.gates[0].passed
    assert stage.figures["unreadable"] == pytest.approx(4 / 44)
    assert stage.figures["agreement_help"] == pytest.approx(16 / 20)
    assert stage.figures["agreement_refusal"] == pytest.approx(16 / 24)
    table = json.loads((stage.out / "confusion.json").read_text())
    assert table == {
        "refusal": {"refusal": 16, "help": 4, "unreadable": 4},
        "help": {"refusal": 4, "help": 16, "unreadable": 0},
    }
    # by hand: po = 32 / 44; said refusal 20, help 20, unreadable 4 of 44; known refusal 24, help 20
    chance = (24 * 20 + 20 * 20) / 44**2
    assert stage.figures["kappa"] == pytest.approx((32 / 44 - chance) / (1 - chance))
    rows = [json.loads(line) for line in (stage.out / "classes.jsonl").read_text().splitlines()]
    assert len(rows) == 44 and rows[0]["said"] == "refusal" and rows[0]["class"] == "help"


def test_too_little_and_too_much_agreement_stop_the_run(
    make_stage: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not run(make_stage, tmp_path, monkeypatch, "low", minimum=0.8).gates[0].passed
    assert not run(make_stage, tmp_path, monkeypatch, "high", maximum=0.7).gates[0].passed
    few = run(make_stage, tmp_path, monkeypatch, "few", answers=12)
    assert few.figures["answers"] == 12


def test_a_label_that_is_no_class_is_named(make_stage: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="label is None; the rubric has refusal, help"):
        run(make_stage, tmp_path, monkeypatch, label="label")
