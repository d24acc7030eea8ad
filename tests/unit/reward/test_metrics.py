"""Metrics and rules as rewards: what they score, which part says why, and what they refuse."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from tuningfork.errors import DataError
from tuningfork.reward import load_reward
from tuningfork.reward.base import Item, Score
from tuningfork.reward.settings import RewardSettings
from tuningfork.runtime import Runtime


def parse(value: Any) -> Any:
    return TypeAdapter(RewardSettings).validate_python(value)


def score(settings: dict[str, Any], response: str, ids: list[int] | None = None, **row: Any) -> Score:
    reward = load_reward(parse(settings), {}, Runtime("cpu", "fp32", 1))
    return reward.score([Item("a prompt", response, row, None, ids)])[0]


def test_bleu_reads_references_of_the_row() -> None:
    references = ["A pub named Wildwood is located at the riverside.", "Wildwood is a pub located in riverside"]
    whole = score({"name": "bleu"}, " " + references[0], references=references)
    assert whole.total == pytest.approx(1.0)
    assert whole.parts == pytest.approx(
        {"precision_1": 1, "precision_2": 1, "precision_3": 1, "precision_4": 1, "brevity_penalty": 1}
    )
    short = score({"name": "bleu", "references": "refs"}, "A pub named Wildwood", refs=references[0])
    assert short.parts["precision_1"] == 1.0 and short.total == pytest.approx(short.parts["brevity_penalty"])
    assert score({"name": "bleu"}, "", references=references).total == 0.0


def test_rouge_reads_references_of_the_row() -> None:
    found = score({"name": "rouge"}, "police kill the gunman", references=["police killed the gunman", "nothing"])
    assert found == Score(0.75, {"precision": 0.75, "recall": 0.75})


@pytest.mark.parametrize("row", [{}, {"references": []}, {"references": [1]}, {"references": {"a": "b"}}])
def test_a_row_without_references_is_a_fault_of_the_data(row: dict[str, Any]) -> None:
    for name in ("bleu", "rouge"):
        with pytest.raises(DataError, match="'references'"):
            score({"name": name}, "text", **row)


@pytest.mark.parametrize(
    ("settings", "response", "answer", "total"),
    [
        ({"match": "exact"}, " The Eiffel tower.", "the Eiffel Tower", 1.0),
        ({"match": "exact"}, "the Eiffel Tower in Paris", "the Eiffel Tower", 0.0),
        ({"match": "exact"}, "blue", ["azure", "Blue"], 1.0),
        ({"match": "number"}, "so 1,234.50 dollars", "#### 1234.5", 1.0),
        ({"match": "number"}, "it is 7 and then 8", "7", 0.0),
        ({"match": "number"}, "no idea", "7", 0.0),
        ({"match": "number", "tolerance": 0.01}, "3.14", "3.1416", 1.0),
        ({"match": "number"}, "-5", "5", 0.0),
        ({"match": "number"}, "about 1e3", 1000, 1.0),
        ({"match": "pattern"}, "on 12 May 1999", r"\b1[0-9]{3}\b", 1.0),
        ({"match": "pattern", "wrong": -1.0}, "in 2001", r"\b1[0-9]{3}\b", -1.0),
        ({"match": "number", "extract": "#### (.*)"}, "12 apples\n#### 3\nor #### 4", "4", 1.0),
        ({"match": "number", "extract": "#### (.*)"}, "the answer is 4", "4", 0.0),
    ],
)
def test_right_answers(settings: dict[str, Any], response: str, answer: Any, total: float) -> None:
    assert score({"name": "answer", **settings}, response, answer=answer).total == total


def test_whether_there_was_an_answer_is_a_part() -> None:
    number = {"name": "answer", "match": "number"}
    assert score(number, "no idea", answer="7").parts == {"answered": 0.0}
    assert score(number, "6", answer="7").parts == {"answered": 1.0}
    with pytest.raises(DataError, match="holds no number"):
        score(number, "6", answer="seven")
    with pytest.raises(DataError, match="no regular expression"):
        score({"name": "answer", "match": "pattern"}, "6", answer="(")
    with pytest.raises(DataError, match=r"no column 'answer' \(it has solution\)"):
        score(number, "6", solution="7")


def test_a_length_costs_by_its_distance_to_the_limits() -> None:
    limits = {"name": "length", "at_least": 3, "at_most": 4, "per": 2}
    totals = [score(limits, " ".join(["word"] * count)).total for count in (0, 2, 3, 4, 7)]
    assert totals == [-1.5, -0.5, 0.0, 0.0, -1.5]
    assert score(limits | {"unit": "characters"}, "abcdef").parts == {"characters": 6.0}
    assert score(limits | {"unit": "tokens"}, "any", ids=[1, 2]).total == -0.5
    with pytest.raises(DataError, match="has no tokens"):
        score(limits | {"unit": "tokens"}, "any")


def test_repetition_by_hand() -> None:
    # a b a b a b: pairs ab ba ab ba ab, of which three occurred before
    assert score({"name": "repetition", "n": 2}, "a b A b a b").total == pytest.approx(-3 / 5)
    assert score({"name": "repetition"}, "a b").total == 0.0


def test_a_language_without_letters_is_unscorable() -> None:
    assert score({"name": "language", "language": "en"}, "the cat is on the mat").total == 1.0
    assert score({"name": "language", "language": "de"}, "the cat is on the mat").total == 0.0
    assert score({"name": "language", "language": "en"}, " 42 ").total is None


@pytest.mark.parametrize(
    "value",
    [
        {"name": "answer"},
        {"name": "answer", "match": "exact", "tolerance": 0.1},
        {"name": "answer", "match": "exact", "extract": "####"},
        {"name": "answer", "match": "exact", "extract": "(####"},
        {"name": "length"},
        {"name": "length", "at_least": 5, "at_most": 4},
        {"name": "language", "language": "xx"},
        {"name": "rouge", "variant": "rouge_w"},
    ],
)
def test_settings_that_mean_nothing_are_refused(value: Any) -> None:
    with pytest.raises(ValidationError):
        parse(value)
