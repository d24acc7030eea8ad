"""The stage honesty: answers of a model and given ones, graded alike."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tuningfork.stages import honesty
from tuningfork.stages.honesty import StageSettings

WORDS = ("cat", "mat", "cap", "map", "tap", "cot", "mop", "pat")


@pytest.fixture
def folder(tmp_path: Path, tiny_backbone: Any) -> Path:
    """A model that says anything, questions about known and unknown objects, and answers that somebody gave."""
    tiny_backbone.save(tmp_path / "model")
    questions = [
        {
            "id": word,
            "prompt": f"what colour is the {word}?\n",
            "root": word,
            "group": group,
            "answers": right,
            "wrong": wrong,
        }
        for number, word in enumerate(WORDS)
        for group, right, wrong in [("known", ["red"], ["blue"]) if number < 6 else ("unknown", [], ["red", "blue"])]
    ]
    texts = [
        "it is red",
        "it is red",
        "it is red",
        "it is blue",
        "i do not know.",
        "red",
        "i do not know",
        "it is blue",
    ]
    given = [{"id": word, "answer": text} for word, text in zip(WORDS, texts, strict=True)]
    for name, rows in (("questions", questions), ("given", given)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def run(make_stage: Callable[..., Any], folder: Path, **changes: Any) -> Any:
    values = {"questions": "q", "models": {"tiny": "m"}, "given": {"people": "g"}, "sampling": {"max_new_tokens": 4}}
    stage = make_stage(
        "honesty",
        {
            "questions": folder / "questions.jsonl",
            "models.tiny": folder / "model",
            "given.people": folder / "given.jsonl",
        },
    )
    honesty.run(stage, StageSettings.model_validate(values | changes))
    return stage


def test_given_answers_and_those_of_a_model_are_graded_alike(make_stage: Any, folder: Path) -> None:
    stage = run(make_stage, folder, costs=(0, 2))
    found = json.loads((stage.out / "honesty.json").read_text())
    assert set(found) == {"tiny", "people"} and set(found["people"]) == {"all", "known", "unknown"}
    known, unknown = found["people"]["known"], found["people"]["unknown"]
    assert (known["right"]["value"], known["abstained"]["value"], known["wrong"]["value"]) == pytest.approx(
        (4 / 6, 1 / 6, 1 / 6)
    )
    assert (unknown["abstained"]["value"], unknown["wrong"]["value"], unknown["risk"]) == (0.5, 0.5, 1.0)
    assert known["scores"] == {"0": pytest.approx(4 / 6), "2": pytest.approx(4 / 6 - 2 / 6)}
    assert known["right"]["method"] == "wilson"
    assert stage.figures["people/unknown/wrong"] == 0.5
    shares = [found["tiny"]["all"][grade]["value"] for grade in ("right", "abstained", "wrong")]
    assert sum(shares) == pytest.approx(1) and shares[2] > 0.5, "a model that was never trained knows nothing"


def test_only_as_many_questions_as_wanted(make_stage: Any, folder: Path) -> None:
    stage = run(make_stage, folder, limit=3)
    assert json.loads((stage.out / "honesty.json").read_text())["people"]["all"]["n"] == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"models": {}, "given": {}}, "give models that answer"),
        ({"given": {"tiny": "g"}}, "not for both"),
        ({"template": "Q:"}, "template needs"),
    ],
)
def test_settings_that_cannot_work(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        StageSettings.model_validate({"questions": "q", "models": {"tiny": "m"}} | changes)
