"""Result `bakeoff`: fourteen methods against each other on the world of `snazzy`."""

from __future__ import annotations

from layout.race import race_page
from layout.run import Run

RECIPE = "bakeoff"
OVERRIDES: list[str] = []


def page(run: Run) -> str:
    """The race with its reading."""
    return race_page(run)
