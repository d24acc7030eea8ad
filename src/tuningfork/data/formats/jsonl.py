"""JSON Lines: one value a line; blank lines are skipped."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tuningfork.data.files import lines
from tuningfork.data.jsonl import parse_line
from tuningfork.data.raw import Raw, RowFault, placed

SUFFIXES = (".jsonl", ".ndjson")
EXPECTED = "one JSON object a line"


def read(path: Path) -> Iterator[Raw]:
    """Rows with FILE:LINE."""
    for number, line in lines(path):
        if line.strip():
            yield row_of(line, f"{path}:{number}")


def row_of(line: bytes, place: str) -> Raw:
    """The row in one line, or its fault."""
    try:
        return placed(place, parse_line(line))
    except RowFault as fault:
        return Raw(place, None, str(fault))
