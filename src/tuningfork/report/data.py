"""The audit of a stage's data as the page shows it: findings, and examples with what is trained on marked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tuningfork.report.folder import Row, StageRun, is_number

KINDS = ("context", "target", "other")
MOST_EXAMPLES = 10
_LONGEST_PIECE = 1500


@dataclass(frozen=True)
class DataView:
    """What one stage was trained on."""

    summary: str
    problems: Sequence[Row]
    examples: Sequence[tuple[str, Sequence[tuple[str, str, str]]]]
    """place, and pieces as (name, text, kind)"""


def data_view(run: StageRun) -> DataView | None:
    """The audit of a stage; None where it made none. Whatever is not of the expected kind is left out."""
    found = run.audit
    if not found:
        return None
    share, rows = found.get("supervised_share"), found.get("rows")
    parts = [f"{rows:,} rows of the shape {found.get('shape')}" if is_number(rows) else str(found.get("shape"))]
    if is_number(found.get("skipped")) and found["skipped"]:
        parts.append(f"{found['skipped']:,} left out as faulty")
    if is_number(share):
        parts.append(f"{share:.1%} of all {found.get('supervised_unit')} supervised")
    problems = [problem for problem in _list(found.get("problems")) if isinstance(problem, dict)]
    examples = [
        (str(example.get("place", "")), _pieces(example.get("pieces")))
        for example in _list(found.get("examples"))[:MOST_EXAMPLES]
        if isinstance(example, dict)
    ]
    return DataView(", ".join(parts), problems, examples)


def _pieces(pieces: Any) -> list[tuple[str, str, str]]:
    found = []
    for piece in _list(pieces):
        if isinstance(piece, list) and len(piece) >= 2 and piece[1] in KINDS:
            text, kind, *name = map(str, piece)
            shown = text if len(text) <= _LONGEST_PIECE else f"{text[:_LONGEST_PIECE]} … ({len(text):,} characters)"
            found.append((name[0] if name else "", shown, kind))
    return found


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
