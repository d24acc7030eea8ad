"""Plain text: one document a file, or several with a line `<|endoftext|>` between them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tuningfork.data.files import text_lines
from tuningfork.data.raw import Raw

SUFFIXES = (".txt", ".text")
EXPECTED = "text"

SEPARATOR = "<|endoftext|>"


def read(path: Path) -> Iterator[Raw]:
    """Documents as `{"text"}` with FILE:LINE, the line on which they begin; empty ones are left out."""
    held: list[str] = []
    begin = 1
    for number, line in enumerate(text_lines(path), 1):
        if line.strip() == SEPARATOR:
            yield from _document(held, path, begin)
            held, begin = [], number + 1
        else:
            held.append(line)
    yield from _document(held, path, begin)


def _document(lines: list[str], path: Path, begin: int) -> Iterator[Raw]:
    text = "".join(lines)
    if text.strip():
        yield Raw(f"{path}:{begin}", {"text": text.rstrip("\r\n")})
