"""A prompt with several right answers: generation from data, question answering, translation."""

from __future__ import annotations

from typing import Any, NotRequired, TypedDict

from tuningfork.data.fields import CONTEXT, PROMPT, Fields, Variant, is_text, is_texts
from tuningfork.data.part import Part, prompt_parts
from tuningfork.data.raw import Row

SUMMARY = "a prompt with several right answers"

_MANY = ("references", "refs", "answers", "targets", "correct_answers", "human_references")


class References(TypedDict):
    """Canonical row."""

    prompt: str
    references: list[str]
    extra: NotRequired[Row]


def _references(fields: Fields) -> list[Row]:
    return [{"prompt": fields.prompt(), "references": fields.take("references")}]


def _answer_objects(fields: Fields) -> list[Row]:
    return [{"prompt": fields.prompt(), "references": fields.read("references")["text"]}]


def _listed(fields: Fields) -> list[Row]:
    """Answers with semicolons between them; the best one first."""
    others = [answer.strip() for answer in fields.read("references").split(";")]
    return [
        {"prompt": fields.prompt(), "references": list(dict.fromkeys([fields.read("best"), *filter(None, others)]))}
    ]


def _triples(fields: Fields) -> list[Row]:
    lines = [" | ".join(triple) for triple in fields.read("triples")]
    return [{"prompt": "\n".join(lines), "references": fields.take("references")}]


def _is_answer_object(value: Any) -> bool:
    return isinstance(value, dict) and is_texts(value.get("text"))


def _is_triples(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(is_texts(triple) for triple in value)


_CONTEXT = {"context": (CONTEXT, is_text)}

VARIANTS = (
    Variant(
        "prompt and references", {"prompt": (PROMPT, is_text), "references": (_MANY, is_texts)}, _references, _CONTEXT
    ),
    Variant(
        "question and answer texts",
        {"prompt": (PROMPT, is_text), "references": (("answers",), _is_answer_object)},
        _answer_objects,
        _CONTEXT,
    ),
    Variant(
        "question, best answer and correct answers",
        {
            "prompt": (PROMPT, is_text),
            "best": (("best_answer",), is_text),
            "references": (("correct_answers",), is_text),
        },
        _listed,
    ),
    Variant(
        "triples and references",
        {"triples": (("triples", "tripleset"), _is_triples), "references": (_MANY, is_texts)},
        _triples,
    ),
)


def parts(row: Row) -> list[Part]:
    """Each reference is a right answer."""
    return [*prompt_parts(row["prompt"]), *(Part("reference", text, "target") for text in row["references"])]
