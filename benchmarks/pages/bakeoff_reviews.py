"""Result `bakeoff-reviews`: the same methods on film reviews."""

from __future__ import annotations

from layout.race import race_page
from layout.run import Run

RECIPE = "bakeoff-reviews"
OVERRIDES: list[str] = ["data=../shared/data/imdb"]


def page(run: Run) -> str:
    """The race with its reading."""
    return race_page(run)
