"""Feedback that a measurement is taken on, as plain data. No torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Compared:
    """Of two answers, by their numbers, the better and the worse one.

    `strength` is how much better in the rater's units, 0 where nobody said; `root` what the prompt was made from, `source`
    where the row came from, `rater` who said so.
    """

    better: int
    worse: int
    root: str = ""
    strength: float = 0.0
    source: str = ""
    rater: str = ""
