"""Questions to a judge and the strict reading of its replies."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from tuningfork.asking.replies import Reply
from tuningfork.errors import DataError
from tuningfork.judges.questions import last_label, load_form
from tuningfork.judges.settings import JudgeSettings, kind_names


def reply(text: str, **logprobs: float) -> Reply:
    return Reply(text, True, 1, 1, {name: math.log(p) for name, p in logprobs.items()} or None)


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("A", "A"), (" B.", "B"), ("(A)", "A"), ("**B**", "B"), ("Answer A names the facts, so: B", "B"),
        ("Better: A\n", "A"), ("A or B", None), ("both A and B", None), ("Apple", None), ("neither", None), ("", None),
        ("a", None), ("A is better", None), ("C", None),
    ],
)  # fmt: skip
def test_a_label_is_read_strictly(text: str, label: str | None) -> None:
    assert last_label(text, ("A", "B")) == label


def test_probabilities_are_those_of_the_labels_among_themselves() -> None:
    form = load_form("pairwise", None, None)
    assert form.choice(reply("B", A=0.3, B=0.1)).probability == pytest.approx(0.75)
    assert form.choice(reply("B", B=0.1)).probability == 0.0, "A was too improbable to be told"
    assert form.choice(reply("A")).probability == 1.0
    assert form.choice(reply("B")).probability == 0.0
    assert form.choice(reply("I cannot say")).probability is None
    assert form.choice(Reply("A", True, 1, 1, {})).probability == 1.0, "no label was told: the text counts"


def test_ratings_by_hand() -> None:
    form = load_form("pointwise", None, ("1", "2", "3"))
    assert form.rating(Reply("", True, 1, 1, {"1": math.log(0.1), "3": math.log(0.3)})).probability == pytest.approx(
        0.75
    )
    assert [form.rating(reply(text)).probability for text in ("1", "2", "3", "4")] == [0.0, 0.5, 1.0, None]
    better, worse = form.rating(reply("3")), form.rating(reply("1"))
    chosen = [form.preferred(*pair).probability for pair in ((better, worse), (worse, better), (worse, worse))]
    assert chosen == [1.0, 0.0, 0.5]
    assert form.preferred(better, form.rating(reply("?"))).probability is None


def test_a_question_holds_what_it_is_given_and_fills_nothing_in_it() -> None:
    form = load_form("pairwise", None, None)
    text = form.text(principle="", prompt="costs $a?", a="$b", b="b")
    assert "costs $a?" in text and "[Answer A]\n$b\n" in text and text.endswith("Better:")
    assert "\n\n\n" not in text and "Be kind." in form.text(principle="Be kind.", prompt="", a="", b="")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("$prompt $a", "lacks \\$b"),
        ("$prompt $a $b $answer", "has \\$answer, which nothing fills"),
        ("$prompt $a $b costs $5", "write \\$\\$ for a dollar sign"),
    ],
)
def test_a_question_of_ones_own_is_checked(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "q.txt").write_text(text)
    with pytest.raises(DataError, match=message):
        load_form("pairwise", str(tmp_path / "q.txt"), None)


def test_each_kind_is_chosen_by_name_and_strictly() -> None:
    assert {"gold", "model", "reward"} <= set(kind_names())
    parse = TypeAdapter[Any](JudgeSettings).validate_python
    local = {"kind": "local", "model": "m"}
    assert parse({"name": "model", "by": local}).asks == "pairwise"
    for wrong in (
        {"name": "models", "by": local},
        {"name": "model"},
        {"name": "model", "by": local, "labels": ["A", "A"]},
        {"name": "model", "by": local, "labels": ["A", "B", "C"]},
        {"name": "model", "by": local, "sampling": {"temperature": 1}},
        {"name": "reward", "reward": {"name": "repetition"}, "scale": 0},
    ):
        with pytest.raises(ValidationError):
            parse(wrong)
