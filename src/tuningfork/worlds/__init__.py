"""Embedded offline data: small generated languages with known truth. A world is a module of this package.

A world's module has `load(**settings)`, which returns something with `build(seed, out) -> WorldSummary-like dict`.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from tuningfork.errors import RecipeError


class Taste(Protocol):
    """What a person of a world thinks of answers, from the words alone."""

    def values(self, prompt: str, answers: Sequence[str], ended: Sequence[bool]) -> list[float]:
        """A value for each answer; equal values are a tie."""
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
    if name not in world_names():
        raise RecipeError(f"there is no world {name!r}; the worlds are: {', '.join(world_names())}")
    return importlib.import_module(f"{__name__}.{name}.rater").load_taste(folder)
