"""What a chat template does to the texts it is given: it may strip blanks, and write arguments or replies as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product

from tuningfork.model.messages import Message
from tuningfork.model.templates import Piece


@dataclass(frozen=True)
class Form:
    """What a template does to the texts it is given: whose blanks it strips, and what it writes as JSON."""

    trims: tuple[str, ...] = ()
    """roles, and `reasoning`"""
    calls_in_json: bool = True
    replies_in_json: bool = False
    arguments_as_text: bool = False

    def text_of(self, piece: Piece, messages: Sequence[Message]) -> Piece:
        """A piece as the template writes it."""
        if piece.message is None or piece.written is None:
            return piece
        text, role = piece.text, messages[piece.message]["role"]
        if piece.written.field == "tool call":
            return replace(piece, text=in_json(text) if piece.written.in_json and self.calls_in_json else text)
        if (role if piece.written.field == "text" else "reasoning") in self.trims:
            text = text.strip()
        return replace(piece, text=in_json(text) if role == "tool" and self.replies_in_json else text)


def forms_of(pieces: Sequence[Piece], messages: Sequence[Message], arguments_as_text: bool) -> Iterator[Form]:
    """What a template may do to these pieces, the usual first."""
    written = [piece.written for piece in pieces if piece.written is not None]
    trimmed = sorted({message["role"] for message in messages} | {w.field for w in written if w.field == "reasoning"})
    calls = (True, False) if any(one.in_json for one in written) else (True,)
    replies = (False, True) if any(message["role"] == "tool" for message in messages) else (False,)
    trims = [some for size in range(len(trimmed) + 1) for some in combinations(trimmed, size)]
    return (Form(*found, arguments_as_text) for found in product(trims, calls, replies))


def in_json(text: str) -> str:
    """A text as it stands in JSON, between its quotes."""
    return json.dumps(text, ensure_ascii=False)[1:-1]


def is_trimmed(found: Piece, given: Piece) -> bool:
    """Whether blanks were stripped from a text."""
    return found.text != given.text and found.text in (given.text.strip(), in_json(given.text.strip()))
