"""Text from models and data, made safe to show: HTML escaped, invisible and control characters made visible.

A character that hides or reorders text (bidi marks, zero-width characters, terminal controls) is shown by its name, so
that what is read is what is there.
"""

from __future__ import annotations

import difflib
import re
import unicodedata

from markupsafe import Markup, escape

LIMIT = 4000
"""Characters of one text that are shown."""
_WORDS = re.compile(r"\s+|[^\s\w]|\w+")
_LONGEST_DIFF = 600
_JOINERS = "\u200c\u200d"  # part of many scripts and of emoji


def show(text: object, limit: int = LIMIT) -> Markup:
    """A text as HTML."""
    whole = str(text)
    shown = Markup("").join(_mark(piece) for piece in _pieces(whole[:limit]))
    if len(whole) > limit:
        shown += Markup('<span class="cut">… {} more characters</span>').format(len(whole) - limit)
    return shown


def plain(text: str) -> str:
    """The text with hidden characters replaced by their names, not escaped: for what goes through a renderer."""
    return "".join(f"[{_name(piece)}]" if _is_hidden(piece[0]) else piece for piece in _pieces(text))


def show_change(before: str, after: str) -> tuple[Markup, Markup]:
    """Two texts as HTML with the words that differ marked; long texts are shown unmarked."""
    old, new = (_WORDS.findall(text[:LIMIT]) for text in (before, after))
    if len(old) > _LONGEST_DIFF or len(new) > _LONGEST_DIFF or len(before) > LIMIT or len(after) > LIMIT:
        return show(before), show(after)
    sides: tuple[list[Markup], list[Markup]] = ([], [])
    for kind, a, b, c, d in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        for side, tokens, tag in ((0, old[a:b], "del"), (1, new[c:d], "ins")):
            if tokens:
                text = show("".join(tokens))
                sides[side].append(text if kind == "equal" else Markup(f"<{tag}>{{}}</{tag}>").format(text))
    return Markup("").join(sides[0]), Markup("").join(sides[1])


def _pieces(text: str) -> list[str]:
    """The text cut before and after each character that must be marked."""
    pieces, start = [], 0
    for index, character in enumerate(text):
        if _is_hidden(character):
            pieces += [text[start:index], character]
            start = index + 1
    return [piece for piece in [*pieces, text[start:]] if piece]


def _mark(piece: str) -> Markup:
    if not _is_hidden(piece[0]):
        return escape(piece)
    title = unicodedata.name(piece, "control character")
    return Markup('<span class="ctl" title="{}">{}</span>').format(title, _name(piece))


def _name(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"U+{code:04X}"


def _is_hidden(character: str) -> bool:
    if character in "\n\t" or character in _JOINERS:
        return False
    return unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")
