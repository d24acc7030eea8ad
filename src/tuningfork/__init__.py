"""Tuningfork: from nothing to a language model that does what people prefer, with proof, on the machine you have.

Example:
    from tuningfork import load_recipe, run

    summary = run(load_recipe("snazzy", ["seed=1"]))
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tuningfork.evals.summary import Summary
    from tuningfork.recipe import Recipe

__version__ = "0.1.0"
__all__ = ["__version__", "load_recipe", "run"]


def load_recipe(name: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe in a file, or a shipped one by name, with `key=value` overrides. RecipeError for what is wrong."""
    from tuningfork import recipe

    return recipe.load_recipe(name, overrides)


def run(
    recipe: Recipe, out: str | Path | None = None, *, store: str | Path | None = None, trust: bool = False
) -> Summary | None:
    """Run a recipe, or what is left of it, in the folder `out` (runs/<name>).

    Returns the summary of what was measured, None for a recipe without an `evaluate` stage. GateFailed where a stage
    did not pass its check, Interrupted where the run was stopped.
    """
    from tuningfork.evals.summary import read_summary
    from tuningfork.supervisor import run_recipe

    folder = run_recipe(recipe, out, store=store, trust=trust)
    return read_summary(folder.summary) if folder.summary.is_file() else None
