"""Text to predict."""

from __future__ import annotations

from typing import Any, NotRequired, TypedDict

from tuningfork.data.dialogue import is_chatml, is_tagged
from tuningfork.data.fields import Fields, Variant, is_text, is_texts
from tuningfork.data.part import Part
from tuningfork.data.raw import Row

SUMMARY = "running text"
IS_FALLBACK = True

_TEXT = ("text", "content", "document", "body", "story", "article", "passage", "sentence")
_WORD_LIST_LINES = 20
_MOST_WORDS = 2


class Text(TypedDict):
    """Canonical row."""

    text: str
    extra: NotRequired[Row]


def is_running_text(value: Any) -> bool:
    """A text that is neither a dialogue with marks nor a list of words or of table rows, one a line."""
    if not is_text(value) or is_chatml(value) or is_tagged(value):
        return False
    return not is_word_list(value)


def is_word_list(text: str) -> bool:
    """Whether nearly all of many lines hold at most two words, or cells with tabs between them."""
    lines = [line for line in text[:65_536].splitlines() if line.strip()][:1000]
    if len(lines) < _WORD_LIST_LINES:
        return False
    short = sum("\t" in line.strip() or len(line.split()) <= _MOST_WORDS for line in lines)
    return short >= 0.9 * len(lines)


def _text(fields: Fields) -> list[Row]:
    return [{"text": fields.take("text")}]


def _sections(fields: Fields) -> list[Row]:
    return [{"text": "\n\n".join(fields.read("sections"))}]


VARIANTS = (
    Variant("sections of a text", {"sections": (("sections", "paragraphs"), is_texts)}, _sections),
    Variant("text", {"text": (_TEXT, is_running_text)}, _text),
    Variant("any text", {"text": (_TEXT, is_text)}, _text, is_recognised=False),
)


def parts(row: Row) -> list[Part]:
    """All of the text is trained on."""
    return [Part("text", row["text"], "target")]
