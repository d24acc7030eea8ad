"""Tables as text: CSV (comma, semicolon, tab or bar, found from the header) and TSV; the first line names the columns."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from tuningfork.data.files import text_lines
from tuningfork.data.raw import Raw
from tuningfork.errors import DataError

SUFFIXES = (".csv", ".tsv")
EXPECTED = "a line of column names and a line for each row"

_DELIMITERS = (",", ";", "\t", "|")
_LONGEST_CELL = 1 << 30
_NUMBERS = {
    "label", "labels", "class", "score", "rating", "stars", "margin", "rank", "ranks", "mean_rating", "similarity", "good",
    "kto_tag", "tag", "desirable", "preferred",
}  # fmt: skip
_STRUCTURES = {
    "messages", "conversation", "conversations", "history", "dialog", "dialogue", "options", "choices", "answers",
    "references", "refs", "responses", "completions", "ranks", "scores", "candidates", "ranking", "extra",
}  # fmt: skip
"""Columns whose cells may hold JSON; in any other column a cell is text, whatever it looks like."""


def read(path: Path) -> Iterator[Raw]:
    """Rows with FILE:LINE, the line on which a row begins. An empty cell is an empty text."""
    csv.field_size_limit(_LONGEST_CELL)
    source = text_lines(path)
    header = next(source, "")
    if not header.strip():
        return
    delimiter = "\t" if ".tsv" in path.suffixes else max(_DELIMITERS, key=header.count)
    reader = csv.reader(chain([header], source), delimiter=delimiter, strict=True)
    names: list[str] = []
    begin = 1
    try:
        names = _names(next(reader), path)
        begin = reader.line_num + 1
        for cells in reader:
            if cells:
                yield _row(names, cells, f"{path}:{begin}", delimiter)
            begin = reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            f"{path}:{begin}: not CSV: {error}; a quoted text ends with a quote, a quote in it is doubled"
        ) from error


def _names(names: list[str], path: Path) -> list[str]:
    names = [name.strip() for name in names]
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if "" in names:
        raise DataError(f"{path}:1: column {names.index('') + 1} has no name; the first line names every column")
    if repeated:
        raise DataError(f"{path}:1: the column name {repeated[0]} occurs twice; rename one")
    return names


def _row(names: list[str], cells: list[str], place: str, delimiter: str) -> Raw:
    if len(cells) != len(names):
        what = "a delimiter inside a text needs quotes around it" if len(cells) > len(names) else "a cell is missing"
        return Raw(place, None, f"{len(cells)} cells, the header names {len(names)} (delimiter {delimiter!r}); {what}")
    return Raw(place, {name: _cell(name.lower(), cell) for name, cell in zip(names, cells, strict=True)})


def _cell(name: str, cell: str) -> Any:
    if (name in _STRUCTURES and cell[:1] in ("[", "{")) or (name in _NUMBERS and cell):
        try:
            return json.loads(cell.lower() if cell in ("True", "False") else cell)
        except json.JSONDecodeError:
            return cell
    return cell
