"""Two texts with a class or a score: entailment, paraphrase, similarity."""

from __future__ import annotations

from typing import NotRequired, TypedDict

from tuningfork.data.fields import Fields, Variant, is_label, is_text
from tuningfork.data.part import Part, label_text
from tuningfork.data.raw import Row

SUMMARY = "two texts with a class or a score"

_LABEL = (
    "label", "entailment", "is_duplicate", "score", "similarity", "relatedness_score", "class", "gold_label", "is_paraphrase",
)  # fmt: skip
_PAIRS = (
    ("premise", "hypothesis"), ("sentence1", "sentence2"), ("text1", "text2"), ("question1", "question2"), ("text_a", "text_b"),
    ("sentence_a", "sentence_b"), ("text", "text_pair"),
)  # fmt: skip


class PairLabelled(TypedDict):
    """Canonical row."""

    text: str
    text_pair: str
    label: str | int | float | bool
    extra: NotRequired[Row]


def _pair(fields: Fields) -> list[Row]:
    return [{"text": fields.take("first"), "text_pair": fields.take("second"), "label": fields.take("label")}]


VARIANTS = tuple(
    Variant(
        f"{first}, {second} and label",
        {"first": ((first,), is_text), "second": ((second,), is_text), "label": (_LABEL, is_label)},
        _pair,
    )
    for first, second in _PAIRS
)


def parts(row: Row) -> list[Part]:
    """The label is learnt."""
    return [
        Part("text", row["text"], "context"),
        Part("text pair", row["text_pair"], "context"),
        Part("label", label_text(row["label"]), "target"),
    ]
