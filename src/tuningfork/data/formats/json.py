"""JSON: a list of rows; an object with such a list under one name; a table by column; or one conversation.

The whole file is read at once; larger data belongs into JSON Lines.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tuningfork.data.files import whole_text
from tuningfork.data.jsonl import parse_json
from tuningfork.data.raw import Raw, Row, RowFault, is_chatml_pieces, numbered, placed
from tuningfork.errors import DataError

SUFFIXES = (".json",)
EXPECTED = "a list of objects"

_SPACE = re.compile(r"\s*")


def read(path: Path) -> Iterator[Raw]:
    """Rows with FILE:LINE where the file is a list, else with FILE, row N."""
    text = whole_text(path)
    if not text.strip():
        return
    try:
        value = parse_json(text)
    except RowFault as fault:
        raise DataError(f"{_place_of_fault(path, text)}: {fault}{_is_lines(text)}") from fault
    if isinstance(value, list) and not _is_one_conversation(value):
        starts = _starts(text)
        for item, start in zip(value, starts, strict=True):
            yield placed(f"{path}:{start}", item)
    elif isinstance(value, dict) and (rows := _rows_within(value)) is not None:
        yield from numbered(str(path), iter(rows))
    else:
        yield placed(f"{path}:1", value)


def _is_one_conversation(values: list[Any]) -> bool:
    """Whether the list is the turns of one conversation, or its ChatML pieces, and not a list of rows."""
    if not values:
        return False
    if is_chatml_pieces(values):
        return True
    return all(
        isinstance(item, dict) and item.keys() <= {"role", "content", "name"} and "role" in item for item in values
    )


def _rows_within(value: Row) -> list[Any] | None:
    """The list of objects in an object that holds one (`{"data": [...]}`), or a table given by column; else None."""
    lists = [
        item for item in value.values() if isinstance(item, list) and item and all(isinstance(i, dict) for i in item)
    ]
    others = [item for item in value.values() if isinstance(item, list | dict)]
    if len(lists) == 1 and len(others) == 1:
        return None if "messages" in value or "conversations" in value else lists[0]
    columns = list(value.values())
    if columns and all(isinstance(c, dict) for c in columns) and len({tuple(c) for c in columns}) == 1:
        return [{name: column[index] for name, column in value.items()} for index in columns[0]]
    return None


def _starts(text: str) -> list[int]:
    """The line on which each item of a list begins."""
    decoder, starts = json.JSONDecoder(), []
    position, line = text.index("[") + 1, 1 + text.count("\n", 0, text.index("["))
    counted = text.index("[")
    while True:
        position = _SPACE.match(text, position).end()  # type: ignore[union-attr]
        if text[position] == "]":
            return starts
        line += text.count("\n", counted, position)
        counted = position
        starts.append(line)
        _, position = decoder.raw_decode(text, position)
        position = _SPACE.match(text, position).end()  # type: ignore[union-attr]
        position += text[position] == ","


def _place_of_fault(path: Path, text: str) -> str:
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        return f"{path}:{error.lineno}"
    except RecursionError:
        return f"{path}:1"
    return f"{path}"


def _is_lines(text: str) -> str:
    """A hint where the file is JSON Lines under another name."""
    first, _, rest = text.strip().partition("\n")
    try:
        is_rows = isinstance(json.loads(first), dict) and rest.lstrip().startswith("{")
    except json.JSONDecodeError:
        return ""
    return " (the file is JSON Lines: name it .jsonl)" if is_rows else ""
