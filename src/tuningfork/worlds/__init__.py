"""Embedded offline data: small generated languages with known truth. A world is a module of this package.

A world's module has `load(**settings)`, which returns something with `build(seed, out) -> WorldSummary-like dict`.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, Protocol

from tuningfork.errors import RecipeError


class Taste(Protocol):
    """What a person of a world thinks of answers, from the words alone."""

    def values(self, prompt: str, answers: Sequence[str], ended: Sequence[bool]) -> list[float]:
        """A value for each answer; equal values are a tie."""
        ...


class SimulatedRater(Protocol):
    """A person of a world who compares two answers, and errs at a known rate."""

    def compare(
        self, item: str, root: str, a: str, b: str, *, a_ended: bool = True, b_ended: bool = True
    ) -> Literal["a", "b", "tie"]:
        """The preferred answer to a prompt about `root`. The same `item` always gets the same slip of attention."""
        ...

    def is_worse(self, root: str, first: str, second: str, *, a_ended: bool = True, b_ended: bool = True) -> bool:
        """Whether the first answer is truly worse than the second."""
        ...

    def describe(self, root: str, text: str, has_ended: bool) -> str:
        """What kind of answer it is, for the make-up of a set of pairs."""
        ...


class World(Protocol):
    """A generated language with known truth."""

    def build(self, seed: int, out: Path) -> Mapping[str, Any]:
        """Write the world's data files into `out`; returns what was written, as counts."""
        ...


def world_names() -> list[str]:
    """Names of the worlds in this package."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def load_world(name: str, **settings: Any) -> World:
    """The world `name` with its settings; raises `RecipeError` for an unknown name or setting."""
    if name not in world_names():
        raise RecipeError(f"there is no world {name!r}; the worlds are: {', '.join(world_names())}")
    module = importlib.import_module(f"{__name__}.{name}")
    return module.load(**settings)


def load_taste(name: str, folder: Path) -> Taste:
    """The taste of people of the world `name`, who know what an artifact of the stage `world` says; RecipeError for another name."""
    return _rater_module(name).load_taste(folder)


def load_rater(name: str, folder: Path, seed: int, flip_rate: float) -> SimulatedRater:
    """A simulated rater of the world `name`, who knows what an artifact of the stage `world` says; RecipeError for another name."""
    return _rater_module(name).load_rater(folder, seed, flip_rate)


def _rater_module(name: str) -> ModuleType:
    if name not in world_names():
        raise RecipeError(f"there is no world {name!r}; the worlds are: {', '.join(world_names())}")
    return importlib.import_module(f"{__name__}.{name}.rater")
