"""JSON Lines files, plain or gzip: one object a row, UTF-8. Every fault is named with file and line."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tuningfork.errors import DataError


def read_jsonl(path: str | Path, required: Sequence[str] = ()) -> list[dict[str, Any]]:
    """All rows of a file; blank lines are skipped. DataError, as FILE:LINE, for whatever is not as it should be.

    Each row must have the keys `required`, with a value other than null. A file without rows is an error.
    """
    path = Path(path)
    rows = [_row(line, f"{path}:{number}", required) for number, line in _lines(path) if line.strip()]
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


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            yield from enumerate(file, start=1)
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist") from error
    except IsADirectoryError as error:
        raise DataError(f"{path} is a folder; expected a .jsonl file") from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path}: not a whole gzip file ({error}); fetch it again") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error


def _row(line: bytes, place: str, required: Sequence[str]) -> dict[str, Any]:
    try:
        row = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise DataError(
            f"{place}: not UTF-8 (byte {error.start + 1} of the line is 0x{line[error.start]:02x})"
        ) from error
    except json.JSONDecodeError as error:
        raise DataError(f"{place}: not JSON: {error.msg} at column {error.colno}") from error
    except RecursionError as error:
        raise DataError(f"{place}: nested too deeply") from error
    if not isinstance(row, dict):
        raise DataError(f"{place}: expected an object, got {type(row).__name__}")
    missing = [key for key in required if row.get(key) is None]
    if missing:
        raise DataError(f"{place}: no {', '.join(missing)}; the row has {', '.join(row) or 'nothing'}")
    return row
