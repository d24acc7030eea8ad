"""Which instructions and answers are kept, rule by rule."""

from __future__ import annotations

import pytest

from tuningfork.asking.asker import Reply
from tuningfork.teachers.filters import InstructionFilter, answer_fault, evolved_fault, numbered_items
from tuningfork.teachers.settings import AnswerRules, InstructionRules

KNOWN = ["Write a short poem about the sea and its colours."]


def reply(text: str, has_ended: bool = True) -> Reply:
    return Reply(text, has_ended, 1, 1)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("Name three rivers of Europe.", None),
        ("Why so?", "too_short"),
        ("word " * 151, "too_long"),
        ("- Name three rivers of Europe.", "odd_beginning"),
        ("Describe the picture above in detail.", "excluded_word"),
        ("Explain what a paragraph is good for.", None),
        ("write a short  poem about the sea and its colours.", "duplicate"),
        ("Write a short poem about the sea and its many colours, please.", "not_novel"),
        ("¿Qué es una metáfora y para qué sirve?", None),
    ],
)
def test_rules_for_instructions(text: str, fault: str | None) -> None:
    known = InstructionFilter(InstructionRules(), KNOWN)
    assert known.fault(text) == fault
    if fault is None:
        assert known.fault(text) == "duplicate"


@pytest.mark.parametrize(
    ("found", "fault"),
    [
        (reply("The Rhine, the Danube and the Volga."), None),
        (reply("The Rhine, the", has_ended=False), "answer_cut_off"),
        (reply("  ...  "), "answer_without_content"),
        (reply("it is of the"), "answer_without_content"),
        (reply("river " * 401), "answer_too_long"),
        (reply("name three rivers of europe."), "answer_repeats_question"),
        (reply("Sorry, I cannot help with rivers."), "answer_refuses"),
        (reply("The letter said sorry. " + "It went on about rivers. " * 20), None),
    ],
)
def test_rules_for_answers(found: Reply, fault: str | None) -> None:
    assert answer_fault("Name three rivers of Europe.", found, AnswerRules()) == fault


def test_rules_for_evolved_instructions() -> None:
    assert evolved_fault("Name three rivers and their sources.", reply("x")) is None
    assert evolved_fault("Name three rivers and", reply("x", has_ended=False)) == "cut_off"
    assert evolved_fault("Rewritten instruction: name them.", reply("x")) == "words_of_the_prompt"


def test_items_of_a_numbered_list() -> None:
    text = "Here you are:\n9. Write 1.5 lines.\n10) Name two things:\n- a\n- b\nTask 11: Sum 3 and 4.\n12.\n"
    assert numbered_items(text) == ["Write 1.5 lines.", "Name two things:\n- a\n- b", "Sum 3 and 4.", ""]
    assert numbered_items("no list at all") == []
