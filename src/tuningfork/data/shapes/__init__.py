"""Shapes of data, found by file name: each module here is one. There is no table to edit.

A shape has SUMMARY, a canonical row (its TypedDict), VARIANTS (the ways people write it) and `parts(row)`, which says what is
trained on. Where a shape has IS_FALLBACK, it is meant only when no other fits.
"""

from __future__ import annotations

import difflib
import functools
import importlib
import pkgutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType

from tuningfork.data.fields import EXTRA, Fields, Variant, describe, names_of
from tuningfork.data.part import Part
from tuningfork.data.raw import Row, RowFault
from tuningfork.errors import DataError

UNKNOWN = "unknown"
_SURE = 0.5
"""Least share of the sampled rows that must be of one shape."""


@functools.cache
def shapes() -> dict[str, ModuleType]:
    """Module of each shape by name, in alphabetical order."""
    names = sorted(found.name for found in pkgutil.iter_modules(__path__))
    return {name: importlib.import_module(f"{__name__}.{name}") for name in names}


def shape_module(name: str) -> ModuleType:
    """The module of a shape (`prompt-completion` is `prompt_completion`); DataError with the nearest name for an unknown one."""
    module = shapes().get(name.replace("-", "_"))
    if module is None:
        raise DataError(f"there is no shape {name!r}; {nearest(name, shapes())}")
    return module


def nearest(word: str, allowed: Iterable[str]) -> str:
    """`did you mean X?`, or what is allowed where nothing is near."""
    allowed = list(allowed)
    near = difflib.get_close_matches(word, allowed, n=1)
    return f"did you mean {near[0]}?" if near else f"the shapes are {', '.join(allowed)}"


@dataclass(frozen=True)
class Recognition:
    """What the first rows look like. `candidates` are the shapes that fit equally well, the first one chosen."""

    shape: str
    explanation: str
    candidates: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Match:
    shape: str
    variant: Variant
    found: Mapping[str, str]

    @property
    def needed(self) -> frozenset[str]:
        return frozenset(self.found[role] for role in self.variant.needs)


def recognise(rows: Sequence[Row], accept: Sequence[str] = ()) -> Recognition:
    """The shape most of `rows` have, with an explanation in plain words; `unknown` where there is none.

    Of shapes that fit equally well the only one in `accept` is meant; otherwise DataError names them.
    """
    votes: Counter[tuple[str, ...]] = Counter()
    examples: dict[tuple[str, ...], list[_Match]] = {}
    for row in rows:
        matches = _best_matches(row)
        names = tuple(sorted({match.shape for match in matches}))
        votes[names] += 1
        examples.setdefault(names, matches)
    found = [(names, count) for names, count in votes.items() if names]
    if not found:
        return Recognition(UNKNOWN, _why_unknown(rows, (), 0))
    names, count = max(found, key=lambda pair: pair[1])
    if count < _SURE * len(rows):
        return Recognition(UNKNOWN, _why_unknown(rows, names, count))
    wanted = [name for name in names if name in accept]
    if len(names) > 1 and len(wanted) != 1:
        which = " and ".join(f"{match.shape} ({', '.join(sorted(match.needed))})" for match in examples[names])
        raise DataError(f"the rows fit {which} equally well; say which with shape={names[0]} or shape={names[1]}")
    shape = next(iter(wanted or names))
    match = next(match for match in examples[names] if match.shape == shape)
    renamed = [f"{role} is {field!r}" for role, field in match.found.items() if role != field.strip().lower()]
    detail = match.variant.title + (f": {', '.join(renamed)}" if renamed else "")
    return Recognition(shape, f"{count} of the first {len(rows)} rows: {detail}", names)


def parse(row: Row, shape: str) -> list[Row]:
    """The canonical rows of one raw row of a shape, fields without a place in them under `extra`.

    RowFault where the row is not of the shape.
    """
    module = shape_module(shape)
    names = names_of(row)
    matches = [
        _Match(shape, variant, found) for variant in module.VARIANTS if (found := variant.match(names, row)) is not None
    ]
    if not matches:
        raise RowFault(f"not a row of the shape {shape}: {_missing(module, row, names)}")
    best = max(matches, key=lambda match: len(match.found))
    fields = Fields(row, best.found)
    rows = best.variant.parse(fields)
    extra = fields.extra()
    return [parsed | {EXTRA: extra} for parsed in rows] if extra else rows


def parts(shape: str, row: Row) -> list[Part]:
    """A canonical row as pieces of text with what is trained on."""
    return shape_module(shape).parts(row)


def known_fields() -> set[str]:
    """Names that a column may be mapped to: every name a variant of a shape knows."""
    variants = (variant for module in shapes().values() for variant in module.VARIANTS)
    return {name for variant in variants for allowed, _ in (variant.needs | variant.may).values() for name in allowed}


def _best_matches(row: Row) -> list[_Match]:
    """For each shape its best match, without those that use fewer of the same fields than another and idle fallbacks."""
    names = names_of(row)
    found: dict[str, _Match] = {}
    for shape, module in shapes().items():
        for variant in module.VARIANTS:
            fields = variant.match(names, row) if variant.is_recognised else None
            match = _Match(shape, variant, fields) if fields is not None else None
            if match and (shape not in found or len(match.needed) > len(found[shape].needed)):
                found[shape] = match
    strong = [match for match in found.values() if not hasattr(shapes()[match.shape], "IS_FALLBACK")]
    matches = strong or list(found.values())
    return [match for match in matches if not any(match.needed < other.needed for other in matches)]


def _missing(module: ModuleType, row: Row, names: Mapping[str, str]) -> str:
    """What the nearest variant lacks, and what the row has."""
    faults = [(variant, _lacking(variant, row, names)) for variant in module.VARIANTS]
    variant, lacking = min(faults, key=lambda pair: len(pair[1]) - len(pair[0].needs) / 100)
    return f"{', '.join(lacking)} ({variant.title}); the row has {', '.join(names.values()) or 'nothing'}"


def _lacking(variant: Variant, row: Row, names: Mapping[str, str]) -> list[str]:
    found = []
    for role, (allowed, check) in variant.needs.items():
        there = next((names[name] for name in allowed if name in names), None)
        if there is None:
            found.append(f"no {role}")
        elif not check(row[there]):
            found.append(f"{there} is {describe(row[there])} that cannot be its {role}")
    return found


def _why_unknown(rows: Sequence[Row], names: Sequence[str], count: int) -> str:
    if names:
        return (
            f"only {count} of the first {len(rows)} rows look like {' or '.join(names)}, the others like nothing known"
        )
    if all(isinstance(row.get("text"), str) for row in rows):
        return "one word or table cell a line, which is a list and no running text; if it is to be trained on, say shape=text"
    keys = ", ".join(list(rows[0])[:8]) if rows else "nothing"
    return f"no known shape has rows with {keys}; map columns with columns={{prompt: ..., completion: ...}} or convert the file"
