"""Data of any known format and shape as canonical rows. Nothing is left out without a count and its reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

from tuningfork.data.fields import EXTRA
from tuningfork.data.raw import Raw, Row, RowFault, UnknownData
from tuningfork.data.shapes import UNKNOWN, known_fields, nearest, parse, recognise, shape_module
from tuningfork.data.shapes.tree import gather
from tuningfork.data.sources import raw_rows
from tuningfork.errors import DataError

SKIP_SHARE = 0.01
"""Share of the rows that may be left out as faulty unless said otherwise."""
_LOOK_AT = 100
_PLACES = 3


@dataclass
class Skipped:
    """Rows left out as faulty: how many, of how many, why, and where the first ones are."""

    count: int = 0
    of: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    first: list[str] = field(default_factory=list)

    @property
    def share(self) -> float:
        """Of all rows met so far."""
        return self.count / self.of if self.of else 0.0

    def add(self, place: str, fault: str) -> None:
        """Count one more."""
        self.count += 1
        self.reasons[fault] += 1
        if len(self.first) < _PLACES:
            self.first.append(f"{place}: {fault}")

    def __str__(self) -> str:
        if not self.count:
            return f"no row of {self.of:,} left out"
        return (
            f"{self.count:,} of {self.of:,} rows left out as faulty ({self.share:.2%}); first: {'; '.join(self.first)}"
        )


class Dataset:
    """Rows of one source in the canonical form of their shape. It may be iterated more than once; see `open_data`.

    `shape` is the shape's name and `explanation` why; `skipped` counts the faulty rows of the latest pass.
    """

    def __init__(
        self, source: str, shape: str, explanation: str, columns: Mapping[str, str], strict: bool, skip_share: float
    ) -> None:
        self.source, self.shape, self.explanation = source, shape, explanation
        self.columns, self.strict, self.skip_share = columns, strict, skip_share
        self.skipped = Skipped()

    def __iter__(self) -> Iterator[Row]:
        return (row for _, row in self.placed())

    def placed(self) -> Iterator[tuple[str, Row]]:
        """(place, canonical row). DataError at the first faulty row where `strict`, else where too many were met."""
        self.skipped = Skipped()
        for raw in gathered(self.shape, raw_rows(self.source)):
            self.skipped.of += 1
            rows = self.parse(raw)
            for row in rows:
                yield raw.place, row
        self.check_share()

    def parse(self, raw: Raw) -> list[Row]:
        """Canonical rows of a raw one; none, and one more counted, where it is faulty."""
        try:
            if raw.row is None:
                raise RowFault(raw.fault)
            return parse(with_columns(raw.row, self.columns), self.shape)
        except RowFault as fault:
            self.refuse(raw.place, str(fault))
            return []

    def refuse(self, place: str, fault: str) -> None:
        """Count a row that cannot be used; DataError where `strict`."""
        if self.strict:
            raise DataError(f"{place}: {fault}")
        self.skipped.add(place, fault)

    def check_share(self) -> None:
        """DataError where more rows were faulty than may be left out."""
        if self.skipped.share > self.skip_share:
            raise DataError(
                f"{self.skipped.first[0]} ({self.skipped.count:,} of {self.skipped.of:,} rows are faulty, more than the "
                f"{self.skip_share:.2%} that may be left out; mend them or raise skip_share)"
            )


def open_data(
    source: str | Path,
    *,
    shape: str | None = None,
    columns: Mapping[str, str] | None = None,
    strict: bool = False,
    skip_share: float = SKIP_SHARE,
    accept: Sequence[str] = (),
) -> Dataset:
    """The rows of a file, a folder, `world:NAME/FILE` or `hf:NAME`, their shape recognised from the first 100 rows.

    `shape` says it instead; `columns` maps a field's known name to the column that holds it (`{"prompt": "frage"}`).
    `strict` stops at the first faulty row; otherwise at most `skip_share` of the rows is left out and counted. `accept`
    names the shapes the caller can use. DataError where the source cannot be read, its shape is unknown, ambiguous or not accepted.
    """
    columns = dict(columns or {})
    if unknown := [name for name in columns if name not in known_fields()]:
        raise DataError(
            f"columns: {unknown[0]!r} is no field of any shape; {nearest(unknown[0], sorted(known_fields()))}"
        )
    raws = raw_rows(source)
    first = list(islice(raws, _LOOK_AT))
    rows = [raw for raw in first if raw.row is not None]
    if not rows:
        raise DataError(f"{first[0].place}: {first[0].fault}" if first else f"{source}: no rows")
    if shape is not None:
        name, explanation = shape_module(shape).__name__.rpartition(".")[2], "as given"
        _check_columns(rows, columns)
    else:
        _check_columns(rows, columns)
        try:
            found = recognise([with_columns(raw.row or {}, columns) for raw in rows], accept)
        except (DataError, RowFault) as error:
            raise DataError(f"{source}: {error}") from error
        name, explanation = found.shape, found.explanation
        if name == UNKNOWN:
            raise UnknownData(f"{source}: {explanation}")
    if accept and name not in accept:
        raise DataError(
            f"{source} holds {shape_module(name).SUMMARY} (shape {name}); here it must be {' or '.join(accept)}"
        )
    return Dataset(str(source), name, explanation, columns, strict, skip_share)


def gathered(shape: str, raws: Iterable[Raw]) -> Iterator[Raw]:
    """Rows of a message table joined to trees; those of any other shape as they are."""
    return gather(raws) if shape == "tree" else iter(raws)


def with_columns(row: Row, columns: Mapping[str, str]) -> Row:
    """The row with columns renamed to the fields they stand for; a field that had the name already goes to `extra`.

    RowFault where a column is missing.
    """
    if not columns:
        return row
    missing = [column for column in columns.values() if column not in row]
    if missing:
        raise RowFault(f"no column {missing[0]!r}; the row has {', '.join(row) or 'nothing'}")
    named = {name: row[column] for name, column in columns.items()}
    rest = {name: value for name, value in row.items() if name not in columns.values()}
    covered = {name: rest.pop(name) for name in list(rest) if name in named}
    if covered:
        rest[EXTRA] = covered | (rest[EXTRA] if isinstance(rest.get(EXTRA), dict) else {})
    return named | rest


def _check_columns(raws: Sequence[Raw], columns: Mapping[str, str]) -> None:
    """DataError where a mapped column is in none of the rows."""
    known: dict[str, Any] = dict.fromkeys(chain.from_iterable(raw.row or {} for raw in raws))
    for column in columns.values():
        if column not in known:
            raise DataError(
                f"{raws[0].place}: columns: there is no column {column!r}; the columns are {', '.join(known)}"
            )
