"""Scores of many responses as a table: one row for the total and for each part, in each group. No torch here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tuningfork.evals.numbers import figure

if TYPE_CHECKING:
    from tuningfork.reward.base import Score

_COLUMNS = ("group", "score", "n", "mean", "deviation", "least", "median", "largest")


@dataclass(frozen=True)
class Line:
    """One distribution."""

    group: str
    name: str
    n: int
    mean: float
    deviation: float
    least: float
    median: float
    largest: float


@dataclass(frozen=True)
class ScoreTable:
    """Distributions of the total and the parts, by group, and how many responses have no score."""

    lines: Sequence[Line]
    unscorable: int

    def markdown(self) -> str:
        """As a Markdown table."""
        rows = [" | ".join(cells) for cells in self._cells()]
        return "\n".join(f"| {row} |" for row in [rows[0], " | ".join("---" for _ in _COLUMNS), *rows[1:]])

    def plain(self) -> str:
        """In columns, for a terminal."""
        cells = self._cells()
        widths = [max(len(row[column]) for row in cells) for column in range(len(_COLUMNS))]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
        )

    def figures(self) -> dict[str, float | int]:
        """Mean and deviation of every line, for the stage's figures."""
        found: dict[str, float | int] = {"unscorable": self.unscorable}
        groups = {line.group for line in self.lines}
        for line in self.lines:
            prefix = f"{line.group}_" if len(groups) > 1 else ""
            found[f"{prefix}{line.name}_mean"], found[f"{prefix}{line.name}_deviation"] = line.mean, line.deviation
        return found

    def _cells(self) -> list[list[str]]:
        body = [
            [line.group, line.name, str(line.n)]
            + [figure(value) for value in (line.mean, line.deviation, line.least, line.median, line.largest)]
            for line in self.lines
        ]
        return [list(_COLUMNS), *body]


def score_table(groups: Sequence[str], scores: Sequence[Score]) -> ScoreTable:
    """Distributions of `total` and of each part; deviations are over n, as in a scale of scores."""
    lines = []
    for group in dict.fromkeys(groups):
        own = [score for name, score in zip(groups, scores, strict=True) if name == group]
        columns = {"total": [score.total for score in own if score.total is not None]}
        for part in dict.fromkeys(part for score in own for part in score.parts):
            columns[part] = [score.parts[part] for score in own if part in score.parts]
        for name, values in columns.items():
            if values:
                found = np.array(values)
                numbers = (found.mean(), found.std(), found.min(), np.median(found), found.max())
                lines.append(Line(group, name, len(values), *map(float, numbers)))
    return ScoreTable(lines, sum(score.total is None for score in scores))
