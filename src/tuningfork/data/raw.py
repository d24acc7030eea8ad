"""One row as a file holds it, with its place, before anybody asked what it means."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from tuningfork.errors import DataError

Row = dict[str, Any]


class RowFault(Exception):
    """What is wrong with one row and what to do, without its place. Whoever knows the place catches it."""


class UnknownData(DataError):
    """A file of no known format, or rows of no known shape."""


class Raw(NamedTuple):
    """A row and where it stands (`FILE:LINE`, or `FILE, row N`); `fault` says why there is no row."""

    place: str
    row: Row | None
    fault: str = ""


def placed(place: str, value: Any) -> Raw:
    """`value`, as it was parsed, as a row; a fault where it is nothing a row can be."""
    try:
        return Raw(place, as_row(value))
    except RowFault as fault:
        return Raw(place, None, str(fault))


def as_row(value: Any) -> Row:
    """An object as it is; a text as `{"text"}`; a list of turns as `{"messages"}`; ChatML pieces as `{"chatml"}`."""
    if isinstance(value, dict):
        return value
    if isinstance(value, str):
        return {"text": value}
    if isinstance(value, list) and value and is_chatml_pieces(value):
        return {"chatml": value}
    if isinstance(value, list) and value and all(is_turn(item) for item in value):
        return {"messages": value}
    raise RowFault(f'expected an object, got {type(value).__name__}; write a row as {{"name": value, ...}}')


def is_turn(value: Any) -> bool:
    """Whether a value looks like one message of a conversation."""
    return isinstance(value, dict) and bool({"role", "from", "speaker"} & value.keys())


def is_chatml_pieces(values: list[Any]) -> bool:
    """Whether a list is ChatML as `{"token": ...}` objects and strings."""
    return any(isinstance(value, dict) for value in values) and all(
        isinstance(value, str) or (isinstance(value, dict) and value.keys() == {"token"}) for value in values
    )


def numbered(places: str, values: Iterator[Any]) -> Iterator[Raw]:
    """Values with the places `<places>, row N`, counted from 1."""
    for number, value in enumerate(values, 1):
        yield placed(f"{places}, row {number}", value)
