"""JSON Lines files, plain or gzip: one object a row, UTF-8. Every fault is named with file and line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from tuningfork.data.files import lines, not_utf8
from tuningfork.data.raw import RowFault
from tuningfork.errors import DataError

_TRAILING_COMMA = re.compile(r",\s*[}\]]")


def read_jsonl(path: str | Path, required: Sequence[str] = ()) -> list[dict[str, Any]]:
    """All rows of a file; blank lines are skipped. DataError, as FILE:LINE, for whatever is not as it should be.

    `world:NAME/FILE` and `hf:NAME` are read as `data.sources` reads them. Each row must have the keys `required`, with a
    value other than null. A file without rows is an error.
    """
    if str(path).startswith(("world:", "hf:")):
        return _source_rows(str(path), required)
    path = Path(path)
    rows = [_row(line, f"{path}:{number}", required) for number, line in lines(path) if line.strip()]
    if not rows:
        raise DataError(f"{path}: no rows; expected one JSON object a line")
    return rows


def write_jsonl(path: Path, rows: Iterable[dict[str, Any]]) -> int:
    """Write rows to a file; returns how many."""
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += 1
    return count


def parse_line(line: bytes) -> Any:
    """The JSON value in one line; RowFault where it is none."""
    try:
        return parse_json(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise RowFault(not_utf8(line, error)) from error


def parse_json(text: str) -> Any:
    """A JSON value; RowFault with the column where it is none. NaN and lone surrogates are faults too."""
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise RowFault(f"not JSON: {error.msg} at column {error.colno}{_hint(text, error)}") from error
    except RecursionError as error:
        raise RowFault("nested too deeply; flatten the row") from error
    if "\\ud" in text or "\\uD" in text:
        check_surrogates(value)
    return value


def check_surrogates(value: Any) -> None:
    """RowFault where a text in `value` holds half a character, which no file can be written with."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise RowFault(
            "holds half a character (a lone surrogate such as \\ud83d): the text was cut; write it again"
        ) from error


def _no_constant(name: str) -> NoReturn:
    raise RowFault(f"not JSON: {name} is no JSON number; write null or a number")


def _hint(text: str, error: json.JSONDecodeError) -> str:
    """What to do about the commonest slips, as the end of a message."""
    stripped = text.strip()
    if stripped in ("{", "[", "[{"):
        return "; the row goes on in the next line: put each object on one line, or name the file .json"
    if stripped.startswith(("{'", "[{'")):
        return "; single quotes, as Python prints them: write rows with json.dumps"
    if _TRAILING_COMMA.match(text, error.pos) or _TRAILING_COMMA.match(text[: error.pos + 1].rstrip()[-2:]):
        return "; remove the comma before the closing bracket"
    if error.msg == "Extra data":
        return "; put each object on a line of its own"
    if error.msg.startswith("Unterminated string") or error.pos >= len(stripped):
        return "; the line ends in the middle of a row: write it again"
    return ""


def _row(line: bytes, place: str, required: Sequence[str]) -> dict[str, Any]:
    try:
        row = parse_line(line)
    except RowFault as fault:
        raise DataError(f"{place}: {fault}") from fault
    if not isinstance(row, dict):
        raise DataError(f"{place}: expected an object, got {type(row).__name__}")
    return _with_keys(row, place, required)


def _source_rows(source: str, required: Sequence[str]) -> list[dict[str, Any]]:
    from tuningfork.data.sources import raw_rows

    rows = []
    for raw in raw_rows(source):
        if raw.row is None:
            raise DataError(f"{raw.place}: {raw.fault}")
        rows.append(_with_keys(raw.row, raw.place, required))
    return rows


def _with_keys(row: dict[str, Any], place: str, required: Sequence[str]) -> dict[str, Any]:
    missing = [key for key in required if row.get(key) is None]
    if missing:
        raise DataError(f"{place}: no {', '.join(missing)}; the row has {', '.join(row) or 'nothing'}")
    return row
