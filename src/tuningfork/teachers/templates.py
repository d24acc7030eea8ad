"""Prompts to a teacher: plain files in `prompts/`, with `$names` for what is put in."""

from __future__ import annotations

import hashlib
import string
from importlib.resources import files


def fill(name: str, **values: str | int) -> str:
    """The prompt `name` with its values; what a value holds is never read as a name again."""
    return string.Template(_text(name)).substitute(values).strip()


def identity(name: str) -> str:
    """`deepen@1a2b3c4d`: the prompt's name and the beginning of its sha256, for provenance."""
    return f"{name}@{hashlib.sha256(_text(name).encode()).hexdigest()[:8]}"


def _text(name: str) -> str:
    return (files("tuningfork.teachers") / "prompts" / f"{name}.txt").read_text(encoding="utf-8")
