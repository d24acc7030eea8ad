"""Fields of a raw row by the names people give them. A variant of a shape says which fields it needs and of what kind.

Names are compared without regard to case, spaces and hyphens: `Best Answer` is `best_answer`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tuningfork.data.raw import Row, RowFault

Check = Callable[[Any], bool]
"""Whether a value is of the kind a field needs."""

EXTRA = "extra"

PROMPT = ("prompt", "instruction", "question", "query", "problem", "user", "human", "mr", "meaning_representation")
COMPLETION = ("completion", "response", "output", "answer", "solution", "assistant", "target", "reply", "ref")
CONTEXT = ("input", "context", "passage")


@dataclass(frozen=True)
class Variant:
    """One way in which rows of a shape are written.

    `needs` and `may` map a role to the names its field may have and the kind its value must be. `parse` gives the
    canonical rows of one raw row, without `extra`; RowFault where the row is not as it should be.
    """

    title: str
    needs: Mapping[str, tuple[Sequence[str], Check]]
    parse: Callable[[Fields], list[Row]]
    may: Mapping[str, tuple[Sequence[str], Check]] = field(default_factory=dict)
    is_recognised: bool = True
    """whether rows are taken for this shape on its account; otherwise it counts only once the shape is known"""

    def match(self, names: Mapping[str, str], row: Row) -> dict[str, str] | None:
        """Role -> field of the row; None where a needed field is missing or of another kind."""
        found = {}
        for role, (allowed, check) in self.needs.items():
            name = next((names[name] for name in allowed if name in names and check(row[names[name]])), None)
            if name is None:
                return None
            found[role] = name
        taken = set(found.values())
        for role, (allowed, check) in self.may.items():
            name = next(
                (names[n] for n in allowed if n in names and names[n] not in taken and check(row[names[n]])), None
            )
            if name is not None:
                found[role] = name
        return found


def names_of(row: Row) -> dict[str, str]:
    """Plain name -> name as written, of all fields that hold something other than null."""
    return {
        name.strip().lower().replace(" ", "_").replace("-", "_"): name
        for name, value in row.items()
        if value is not None
    }


class Fields:
    """The matched fields of one row; remembers which were carried over as they are, so that the others are kept too."""

    def __init__(self, row: Row, found: Mapping[str, str]) -> None:
        self.row, self.found = row, found
        self.carried: set[str] = set()

    def __contains__(self, role: str) -> bool:
        return role in self.found

    def take(self, role: str) -> Any:
        """The value of a role that goes into the canonical row unchanged."""
        self.carried.add(self.found[role])
        return self.row[self.found[role]]

    def read(self, role: str) -> Any:
        """The value of a role that is changed on its way: it stays in `extra` as well."""
        return self.row[self.found[role]]

    def drop(self, role: str) -> None:
        """Say that a field holds nothing that is not elsewhere in the canonical row."""
        if role in self.found:
            self.carried.add(self.found[role])

    def prompt(self, role: str = "prompt", context: str = "context") -> str:
        """The prompt, with the context below it where there is one; both stay in `extra` when they were joined."""
        if context in self and str(self.read(context)).strip():
            return f"{self.read(role)}\n\n{self.read(context)}"
        self.drop(context)
        return self.take(role)

    def extra(self) -> Row:
        """All fields that were not carried over; those already kept under `extra` stay where they are."""
        kept = {name: value for name, value in self.row.items() if name not in self.carried}
        earlier = kept.get(EXTRA)
        if isinstance(earlier, dict) and not (earlier.keys() & (kept.keys() - {EXTRA})):
            kept = earlier | {name: value for name, value in kept.items() if name != EXTRA}
        return kept


def is_text(value: Any) -> bool:
    """A text."""
    return isinstance(value, str)


def is_texts(value: Any) -> bool:
    """A list of one or more texts."""
    return isinstance(value, list) and bool(value) and all(isinstance(item, str) for item in value)


def is_number(value: Any) -> bool:
    """A number, truth values apart."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_numbers(value: Any) -> bool:
    """A list of one or more numbers."""
    return isinstance(value, list) and bool(value) and all(is_number(item) for item in value)


def is_objects(value: Any) -> bool:
    """A list of one or more objects."""
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)


def is_label(value: Any) -> bool:
    """A class or a score: a text, a number or a truth value."""
    return isinstance(value, str | int | float)


def checked_text(value: Any, what: str) -> str:
    """`value` where it is a text; RowFault that names it otherwise."""
    if not isinstance(value, str):
        raise RowFault(f"{what} is {describe(value)}; it must be text")
    return value


def describe(value: Any) -> str:
    """A kind of value in words."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a truth value"
    kinds = ((str, "text"), (int | float, "a number"), (list, "a list"), (dict, "an object"))
    return next((word for kind, word in kinds if isinstance(value, kind)), type(value).__name__)
