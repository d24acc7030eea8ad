"""A judge that writes its reasons first: the probabilities of the labels are read where it names one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pydantic
import pytest

from tuningfork.asking.asker import Question
from tuningfork.asking.replies import Reply
from tuningfork.data.judgements import Candidate
from tuningfork.judges.base import Pair
from tuningfork.judges.kinds.model import ModelJudge, Settings
from tuningfork.judges.questions import Form
from tuningfork.judges.settings import JudgeSettings

LOCAL = {"kind": "local", "model": "m", "asked_in": "text"}
FORM = Form("$prompt\nA: $a\nB: $b\nBetter:", ("A", "B"), "short")


class Writer:
    """Names the answer that is `kind`, after a reason that names both; says nothing of a question about silence."""

    teacher = SimpleNamespace(name="writer")

    def __init__(self) -> None:
        self.asked: list[tuple[str, list[Question]]] = []

    def ask(self, purpose: str, questions: Sequence[Question]) -> list[Reply | None]:
        self.asked.append((purpose, list(questions)))
        return [self._reply(question) for question in questions]

    def _reply(self, question: Question) -> Reply | None:
        if question.labels:
            first = question.text.endswith("so it is") and "A: kind" in question.text
            told = {"A": math.log(0.6 if first else 0.1), "B": math.log(0.2 if first else 0.3)}
            return Reply("A", False, 9, 1, told)
        if "cap" in question.text:
            return None
        says = (
            "I cannot tell"
            if "silence" in question.text
            else f" A or B? so it is {'A' if 'A: kind' in question.text else 'B'}."
        )
        return Reply(says, True, 5, 3)


def pair(prompt: str, a: str, b: str) -> Pair:
    return Pair(prompt, prompt, prompt, Candidate(text=a), Candidate(text=b))


def test_probabilities_are_read_behind_the_reasons() -> None:
    asker: Any = Writer()
    settings = Settings.model_validate({"by": LOCAL, "reads": "reasons"})
    pairs = [
        pair("q", "kind", "rude"),
        pair("silence", "kind", "rude"),
        pair("cap", "x", "y"),
        pair("r", "rude", "kind"),
    ]
    found = ModelJudge(asker, FORM, settings).compare(pairs)
    assert [one and one.probability for one in found] == [pytest.approx(0.75), None, None, pytest.approx(0.25)]
    assert found[0] is not None and "so it is" in found[0].note, "the reasons stand in the record"
    (_, first), (purpose, second) = asker.asked
    assert purpose == "verdict" and all(not question.labels for question in first)
    assert [(question.id, question.text, question.labels) for question in second] == [
        ("q", "q\nA: kind\nB: rude\nBetter: A or B? so it is", ("A", "B")),
        ("r", "r\nA: rude\nB: kind\nBetter: A or B? so it is", ("A", "B")),
    ]


def test_only_a_model_here_in_plain_text_can_go_on_with_its_own_reasons() -> None:
    parse = pydantic.TypeAdapter(JudgeSettings).validate_python
    assert (
        parse({"name": "model", "by": LOCAL, "reads": "reasons", "sampling": {"max_new_tokens": 9}}).reads == "reasons"
    )
    for by in (
        LOCAL | {"asked_in": "chat"},
        {"kind": "endpoint", "url": "https://a.example/v1", "model": "m", "token_cap": 9},
    ):
        with pytest.raises(pydantic.ValidationError, match="asked_in: text"):
            parse({"name": "model", "by": by, "reads": "reasons"})
