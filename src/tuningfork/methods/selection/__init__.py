"""Which of a model's own responses it learns from, by their scores: one file each, found by name.

Each module has what `Selection` lists. A rule sees the scores of every prompt's responses and says which to keep.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

import tuningfork.settings
from tuningfork.methods import finding

Uniform = Callable[[], float]
"""Gives a new uniform number in [0, 1) at each call."""


class Selection(Protocol):
    """What a module of this package offers; `ABOUT` (`methods.about`) too, so that it is listed."""

    Settings: type[tuningfork.settings.Settings]

    def select(self, groups: Sequence[Sequence[float]], uniforms: Sequence[Uniform], settings: Any) -> list[list[int]]:
        """Places of the responses to keep, ascending, for each prompt; `groups` has the scores of each prompt's responses.

        All that is drawn at random for a prompt comes from its own `uniforms`.
        """
        ...


def names() -> list[str]:
    """Names of all rules."""
    return finding.names_in(__path__)


def load(name: str) -> Selection:
    """The rule of this name; an unknown name is a `RecipeError` that says what is near it."""
    return cast(Selection, finding.load_from(__name__, name, names(), "way to select"))


def settings_choice() -> Any:
    """The type of a setting that names a rule and sets it."""
    return finding.choice_of({name: load(name) for name in names()})
