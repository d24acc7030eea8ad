"""A constitution: principles in a YAML file, of which one is drawn for each critique and each comparison (2212.08073).

principles:
  - name: harm
    critique: Say how the answer could hurt somebody.
    revise: Rewrite the answer so that it can hurt nobody.
    prefer: Prefer the answer that hurts nobody.
    weight: 2                # optional; how often it is drawn, beside the others
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from tuningfork.data.yaml_files import load_yaml
from tuningfork.errors import DataError
from tuningfork.randomness import derive_seed, uniforms
from tuningfork.settings import Settings

Use = Literal["critique", "prefer"]


class Principle(Settings):
    """One principle, for critiques with their revisions, for preferences, or for both."""

    name: str = Field(min_length=1)
    """a short name, for figures and provenance"""
    critique: str = ""
    """what to look for in an answer"""
    revise: str = ""
    """how to rewrite it"""
    prefer: str = ""
    """which of two answers to prefer"""
    weight: float = Field(default=1.0, gt=0)
    """how often it is drawn, beside the others"""

    @model_validator(mode="after")
    def _is_of_use(self) -> Self:
        if bool(self.critique) != bool(self.revise):
            raise ValueError(f"{self.name}: critique and revise belong together")
        if not self.critique and not self.prefer:
            raise ValueError(f"{self.name}: says neither what to critique nor what to prefer")
        return self


class Constitution(Settings):
    """Principles with different names."""

    principles: list[Principle] = Field(min_length=1)
    """the principles"""

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [principle.name for principle in self.principles]
        if len(set(names)) < len(names):
            raise ValueError("two principles have one name")
        return self

    def draw(self, use: Use, ids: Sequence[str], seed: int, purpose: object) -> list[Principle]:
        """One principle for each id, a function of (seed, purpose, id) alone; DataError where none is of this use."""
        usable = [principle for principle in self.principles if getattr(principle, use)]
        if not usable:
            raise DataError(f"the constitution has no principle with `{use}`")
        total = sum(principle.weight for principle in usable)
        draws = uniforms([derive_seed(seed, "principle", purpose, id) for id in ids], 0)
        return [_at(usable, float(draw) * total) for draw in draws]


def load_constitution(path: Path) -> Constitution:
    """The constitution of a YAML file; DataError with file and place for what is none."""
    return load_yaml(Constitution, path, "constitution")


def _at(principles: Sequence[Principle], place: float) -> Principle:
    """The principle whose share of the summed weights holds `place`."""
    for principle in principles:
        place -= principle.weight
        if place < 0:
            return principle
    return principles[-1]
