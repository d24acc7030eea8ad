"""Untrusted text in a terminal: nothing that a model or a file says may move the cursor or hide what stands there."""

from __future__ import annotations

import unicodedata

_BIDI = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


def visible(text: str) -> str:
    """The text with control characters and text-direction marks written out; line breaks and tabs stay."""
    return "".join(_escaped(character) for character in text)


def _escaped(character: str) -> str:
    if character in "\n\t":
        return character
    is_control = unicodedata.category(character) in ("Cc", "Cs", "Co", "Cn")
    if is_control or unicodedata.bidirectional(character) in _BIDI:
        return f"\\u{{{ord(character):x}}}"
    return character
