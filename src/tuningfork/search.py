"""A search of settings before a run: every contestant gets equally many, on a seed of their own, and the best are taken.

Trial k runs the k-th setting of every contestant at once, as a run in `search-<k>` that shares its first stages with the
other trials through the store. What decides are the looks at monitor prompts; stages behind the last contestant, which
may read test prompts, are left out. The choice and all that it rests on is written to `search.json`.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from tuningfork.artifacts.events import METRICS, read_rows
from tuningfork.artifacts.files import write_json
from tuningfork.artifacts.run_folder import RunFolder
from tuningfork.composition import COMMAND_LINE, locate
from tuningfork.document import Origin
from tuningfork.errors import RecipeError
from tuningfork.recipe import Recipe, SearchSettings, check_recipe
from tuningfork.settings import Settings

FILE = "search.json"


class Tried(Settings):
    """One setting of one contestant, and where it led on the monitor prompts."""

    values: dict[str, Any]
    """what it sets, by dotted name"""
    gold: float
    """the measure at the last look"""
    kl: float
    """nats a response at the last look; for best of n the bound"""


class Choice(Settings):
    """What a contestant tried, and the number of what was taken."""

    tried: list[Tried]
    chosen: int
    reason: Literal["best within the limit", "nearest to the limit"]


class Found(Settings):
    """The result of a search."""

    version: int = 1
    seed: int
    measure: str
    kl_limit: float
    contestants: dict[str, Choice] = Field(default_factory=dict)

    @property
    def values(self) -> dict[str, Any]:
        """All chosen values, by dotted name."""
        return {key: value for one in self.contestants.values() for key, value in one.tried[one.chosen].values.items()}


def trials(recipe: Recipe) -> list[Recipe]:
    """The recipe of each trial, checked: as many as every contestant has settings."""
    search = _settings(recipe)
    counts = {name: len(tried) for name, tried in search.grid.items()}
    if len(set(counts.values())) != 1:
        raise RecipeError(f"search.grid: every contestant has to try equally many settings, here it is {counts}")
    ids = [stage.id for stage in recipe.stages]
    for name in search.grid:
        if name not in ids:
            raise RecipeError(f"search.grid: there is no stage {name}; there are {', '.join(ids)}")
    last = max(ids.index(name) for name in search.grid)
    found = []
    for number in range(next(iter(counts.values()))):
        values = {key: value for tried in search.grid.values() for key, value in tried[number].items()}
        everywhere = _everywhere(recipe, search)
        found.append(_with_values(recipe, everywhere | values, f"search, trial {number}", search.seed, last + 1))
    return found


def _everywhere(recipe: Recipe, search: SearchSettings) -> dict[str, Any]:
    """The values that all trials share; `*.budget` is that of every contestant that has the setting."""
    found = {}
    for key, value in search.set.items():
        first, _, rest = key.partition(".")
        stages = [stage for stage in recipe.stages if stage.id in search.grid] if first == "*" else []
        names = [stage.id for stage in stages if rest.partition(".")[0] in type(stage.settings).model_fields]
        if first == "*" and not names:
            raise RecipeError(f"search.set: {key}: no contestant has the setting {rest}")
        found |= {f"{name}.{rest}": value for name in names} if first == "*" else {key: value}
    return found


def choose(recipe: Recipe, folders: Sequence[RunFolder]) -> Found:
    """What the finished trials in `folders` say: the best measure within the KL limit, else what is nearest to it."""
    search = _settings(recipe)
    numbers = {stage.id: stage.folder for stage in recipe.stages}
    found = {}
    for name, grid in search.grid.items():
        tried = [
            Tried(values=values, **last_look(folder.path / numbers[name] / METRICS, search.measure))
            for values, folder in zip(grid, folders, strict=True)
        ]
        found[name] = pick(tried, search.kl_limit)
    return Found(seed=search.seed, measure=search.measure, kl_limit=search.kl_limit, contestants=found)


def pick(tried: Sequence[Tried], kl_limit: float) -> Choice:
    """The highest measure within the limit, of equal ones that of less KL; where none is within it, the least KL."""
    within = [number for number, one in enumerate(tried) if one.kl <= kl_limit]
    if within:
        best = max(within, key=lambda number: (tried[number].gold, -tried[number].kl))
        return Choice(tried=list(tried), chosen=best, reason="best within the limit")
    nearest = min(range(len(tried)), key=lambda number: tried[number].kl)
    return Choice(tried=list(tried), chosen=nearest, reason="nearest to the limit")


def last_look(metrics: Path, measure: str) -> dict[str, float]:
    """`gold` and `kl` of the last row with both; for best of n the bound stands in for KL."""
    for row in reversed(read_rows(metrics)):
        kl, gold = row.get("monitor/kl", row.get("kl_bound")), row.get(measure)
        if kl is not None and gold is not None:
            return {"gold": gold, "kl": kl}
    raise RecipeError(
        f"search.measure: {metrics.parent.name} has no look with {measure}; give it a monitor with that judge"
    )


def with_choice(recipe: Recipe, found: Found) -> Recipe:
    """The recipe with the chosen settings, and nothing more to search. Its seeds are named."""
    seeds = recipe.header.seeds or (recipe.header.seed,)
    chosen = _with_values(recipe, found.values, "search", None, len(recipe.stages))
    document = copy.deepcopy(chosen.composed)
    document.put(("seeds",), list(seeds), document.origin(("seeds",)) or COMMAND_LINE)
    return check_recipe(document, recipe.source)


def save(found: Found, folder: RunFolder) -> None:
    """Write the choice where the report finds it."""
    write_json(folder.path / FILE, found.model_dump(mode="json"))


def read(folder: Path) -> Found | None:
    """The choice of a run; None where there was no search."""
    path = folder / FILE
    return Found.model_validate(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None


def _with_values(recipe: Recipe, values: Mapping[str, Any], label: str, seed: int | None, num_stages: int) -> Recipe:
    document = copy.deepcopy(recipe.composed)
    origin = Origin(label)
    for key, value in values.items():
        document.put(locate(document, key, origin), copy.deepcopy(value), origin)
    document.data["stages"] = document.data["stages"][:num_stages]
    document.put(("search",), None, origin)
    if seed is not None:
        document.put(("seed",), seed, origin)
        document.put(("seeds",), None, origin)
    return check_recipe(document, recipe.source)


def _settings(recipe: Recipe) -> SearchSettings:
    assert recipe.header.search is not None, "the recipe has no search"
    return recipe.header.search
