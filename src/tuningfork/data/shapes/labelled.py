"""A text with a class or a score."""

from __future__ import annotations

from typing import NotRequired, TypedDict

from tuningfork.data.fields import Fields, Variant, is_label, is_text
from tuningfork.data.part import Part, label_text
from tuningfork.data.raw import Row

SUMMARY = "a text with a class or a score"

_TEXT = ("text", "sentence", "review", "comment", "content", "tweet", "document")
_LABEL = (
    "label", "class", "category", "sentiment", "score", "rating", "stars", "mean_rating", "coarse", "label_text", "toxicity",
)  # fmt: skip


class Labelled(TypedDict):
    """Canonical row."""

    text: str
    label: str | int | float | bool
    extra: NotRequired[Row]


def _labelled(fields: Fields) -> list[Row]:
    return [{"text": fields.take("text"), "label": fields.take("label")}]


VARIANTS = (Variant("text and label", {"text": (_TEXT, is_text), "label": (_LABEL, is_label)}, _labelled),)


def parts(row: Row) -> list[Part]:
    """The label is learnt."""
    return [Part("text", row["text"], "context"), Part("label", label_text(row["label"]), "target")]
