"""A row as people read it: pieces of text, and which of them are trained on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from tuningfork.data.raw import Row


class Part(NamedTuple):
    """One piece of a row.

    `kind`: `target` is what is learnt (or preferred), `other` stands against it (the rejected answer, a wrong option),
    `context` is only read.
    """

    name: str
    text: str
    kind: Literal["context", "target", "other"]


def prompt_parts(prompt: str | Sequence[Row]) -> list[Part]:
    """A prompt, which is a text or messages, as context."""
    if isinstance(prompt, str):
        return [Part("prompt", prompt, "context")]
    return [Part(message["role"], message["content"], "context") for message in prompt]


def answer_text(answer: str | Sequence[Row]) -> str:
    """An answer, which is a text or messages, as text."""
    return answer if isinstance(answer, str) else "\n\n".join(message["content"] for message in answer)


def joined(parts: Sequence[Part], kind: str) -> str:
    """The texts of all parts of a kind."""
    return "\n\n".join(part.text for part in parts if part.kind == kind)


def label_text(label: Any) -> str:
    """A label as text."""
    return label if isinstance(label, str) else f"{label:g}" if isinstance(label, float) else str(label)
