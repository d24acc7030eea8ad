"""Feedback on single responses: good or bad, without another one beside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuningfork.data.jsonl import read_jsonl
from tuningfork.errors import DataError


@dataclass(frozen=True)
class Feedback:
    """One response and whether it was found good."""

    prompt: str
    completion: str
    is_desirable: bool
    root: str


def read_feedback(source: str | Path) -> list[Feedback]:
    """Rows {"prompt", "completion", "label"}, label true or false; "root" names the unit of splits, else the prompt."""
    rows = read_jsonl(Path(source), required=("prompt", "completion", "label"))
    return [
        Feedback(row["prompt"], row["completion"], _label(row["label"], f"{source}, row {number}"), _root(row))
        for number, row in enumerate(rows, 1)
    ]


def _root(row: dict[str, Any]) -> str:
    return str(row.get("root", row["prompt"]))


def _label(label: Any, place: str) -> bool:
    if label in (True, False):
        return bool(label)
    raise DataError(f"{place}: label {label!r} is neither true nor false")
