"""A question with options, one of them the answer: multiple choice, cloze, yes or no."""

from __future__ import annotations

from typing import Any, NotRequired, TypedDict

from tuningfork.data.fields import Fields, Variant, is_label, is_text, is_texts
from tuningfork.data.part import Part
from tuningfork.data.raw import Row, RowFault

SUMMARY = "a question with options"

_QUESTION = ("question", "prompt", "query", "sentence_with_blank", "sentence", "ctx", "goal", "stem")
_OPTIONS = ("options", "choices", "endings", "pronoun_options", "alternatives")
_ANSWER = ("answer", "answer_index", "answerkey", "answer_key", "label", "correct", "gold", "correct_option")
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class Choice(TypedDict):
    """Canonical row; `answer` is the number of the right option from 0, null where the source does not say."""

    question: str
    options: list[str]
    answer: int | None
    extra: NotRequired[Row]


def _options(fields: Fields) -> list[Row]:
    options = fields.take("options")
    return [{"question": fields.take("question"), "options": options, "answer": _answer(fields, options, None)}]


def _labelled_options(fields: Fields) -> list[Row]:
    given = fields.read("options")
    options = given["text"]
    return [
        {
            "question": fields.take("question"),
            "options": options,
            "answer": _answer(fields, options, given.get("label")),
        }
    ]


def _matching(fields: Fields) -> list[Row]:
    options = [fields.take("right"), fields.take("wrong")]
    return [{"question": fields.take("question"), "options": options, "answer": 0}]


def _answer(fields: Fields, options: list[str], names: list[str] | None) -> int | None:
    if "answer" not in fields:
        return None
    answer = fields.read("answer")
    index = _index(answer, options, names)
    if index is None or not 0 <= index < len(options):
        raise RowFault(
            f"the answer {answer!r} is none of the {len(options)} options; give its text, its letter or its number from 0"
        )
    if answer == index and not isinstance(answer, bool):
        fields.drop("answer")
    return index


def _index(answer: Any, options: list[str], names: list[str] | None) -> int | None:
    text = str(answer).strip()
    if names and text in [str(name) for name in names]:
        return [str(name) for name in names].index(text)
    if isinstance(answer, str) and text in [option.strip() for option in options]:
        return [option.strip() for option in options].index(text)
    if len(text) == 1 and text.upper() in _LETTERS:
        return _LETTERS.index(text.upper())
    return int(text) if text.isdecimal() else None


def _is_options(value: Any) -> bool:
    return is_texts(value) and len(value) > 1


def _is_labelled_options(value: Any) -> bool:
    return isinstance(value, dict) and _is_options(value.get("text"))


VARIANTS = (
    Variant(
        "question, options and answer",
        {"question": (_QUESTION, is_text), "options": (_OPTIONS, _is_options), "answer": (_ANSWER, is_label)},
        _options,
    ),
    Variant(
        "question, labelled options and answer",
        {"question": (_QUESTION, is_text), "options": (_OPTIONS, _is_labelled_options), "answer": (_ANSWER, is_label)},
        _labelled_options,
    ),
    Variant(
        "question and options",
        {"question": (_QUESTION, is_text), "options": (_OPTIONS, _is_options)},
        _options,
        {"answer": (_ANSWER, is_label)},
    ),
    Variant(
        "question with the matching and another answer",
        {
            "question": (_QUESTION, is_text),
            "right": (("answer_matching_behavior", "correct_answer"), is_text),
            "wrong": (("answer_not_matching_behavior", "incorrect_answer"), is_text),
        },
        _matching,
    ),
)


def parts(row: Row) -> list[Part]:
    """The right option against the others."""
    options = [
        Part(f"option {number}", text, "target" if number == row["answer"] else "other")
        for number, text in enumerate(row["options"])
    ]
    return [Part("question", row["question"], "context"), *options]
