"""Right, abstained, wrong by rules over accepted and wrong answers."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from tuningfork.data.grading import Settings, grade, shared_words

DATA = Path(__file__).parents[4] / "shared" / "data"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("it is blue.", "right"),
        ("It is AZURE", "right"),
        ("it is red.", "wrong"),
        ("it is blue and red.", "wrong"),
        ("it is bluered", "wrong"),
        ("it is navy-blue", "wrong"),
        ("i do not know.", "abstained"),
        ("I don’t know!", "abstained"),
        ("i do not know, maybe red", "wrong"),
        ("i do not know, maybe blue", "right"),
        ("", "wrong"),
        ("the garden", "wrong"),
    ],
)
def test_words(text: str, expected: str) -> None:
    assert grade(text, ["blue", "azure"], ["red"], Settings()) == expected


def test_a_question_without_accepted_answers_can_only_be_abstained_from() -> None:
    for match in ("words", "number", "exact", "nearest"):
        settings = Settings.model_validate({"match": match})
        assert grade("i do not know.", [], [], settings) == "abstained"
        assert grade("it is blue 7", [], ["blue"], settings) == "wrong"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("48 + 24 = 72", "right"),
        ("so it is 1,072.0 dollars", "wrong"),
        ("$72.00.", "right"),
        ("first 72, then 7", "wrong"),
        ("I am not sure.", "abstained"),
        ("I am not sure, 72?", "right"),
        ("many", "wrong"),
        ("-72", "wrong"),
    ],
)
def test_number(text: str, expected: str) -> None:
    assert grade(text, ["72"], [], Settings(match="number")) == expected


def test_exact_ignores_case_punctuation_and_articles() -> None:
    assert grade("The Sky!", ["a sky"], [], Settings(match="exact")) == "right"
    assert grade("the sky above", ["a sky"], [], Settings(match="exact")) == "wrong"


def test_shared_words_by_hand() -> None:
    # "you grow melons" and "melons grow in you": 3 words shared of 3 and of 4: F1 = 2 * 3 / (3 + 4)
    assert shared_words("you grow melons", "melons grow in you") == pytest.approx(6 / 7)
    assert shared_words("", "melons") == 0.0


def test_nearest_takes_the_side_with_more_words_in_common() -> None:
    accepted, wrong = ["nothing happens to you"], ["you grow melons in your stomach"]
    assert grade("nothing happens", accepted, wrong, Settings(match="nearest")) == "right"
    assert grade("melons grow in your stomach", accepted, wrong, Settings(match="nearest")) == "wrong"
    assert grade("bananas", accepted, wrong, Settings(match="nearest")) == "wrong"
    assert grade("I have no comment.", accepted, wrong, Settings(match="nearest")) == "abstained"


def test_nearest_agrees_with_people_about_given_answers() -> None:
    """Answers of models to TruthfulQA that people judged true or not; the rule never saw the judgements."""
    folder = DATA / "truthfulqa"
    if not folder.is_dir():
        pytest.skip("../shared/data/truthfulqa is not there")
    with gzip.open(folder / "truthfulqa.jsonl.gz", "rt") as file:
        known = {row["Question"]: row for row in map(json.loads, file)}
    hits = []
    with gzip.open(folder / "finetune_truth.jsonl.gz", "rt") as file:
        for row in list(map(json.loads, file))[::40]:
            question, answer = row["prompt"].removeprefix("Q: ").removesuffix("\nTrue:").split("\nA: ", 1)
            if question in known:
                sides = [known[question][f"{side} Answers"].split(";") for side in ("Correct", "Incorrect")]
                given = grade(answer, sides[0], sides[1], Settings(match="nearest"))
                hits.append((given != "wrong") == (row["completion"].strip() == "yes"))
    assert len(hits) > 200 and sum(hits) / len(hits) > 0.7
