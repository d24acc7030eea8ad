"""The resolved recipe as YAML: every value, and as a comment where it came from. It loads like any other recipe."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tuningfork import __version__
from tuningfork.artifacts.run_folder import RECIPE
from tuningfork.document import Location, render_scalar
from tuningfork.recipe import Recipe, RecipeHeader, absolute_inputs

_COMMENT_COLUMN = 56


def resolved_data(recipe: Recipe) -> dict[str, Any]:
    """The recipe as plain data, defaults filled in and paths absolute."""
    header = recipe.header.model_dump(mode="json", exclude={"stages", "variants"})
    stages = []
    for stage in recipe.stages:
        own: dict[str, Any] = {"id": stage.id} if stage.id != stage.kind else {}
        if stage.seed != recipe.header.seed and "seed" not in type(stage.settings).model_fields:
            own["seed"] = stage.seed
        stages.append({stage.kind: own | absolute_inputs(stage)})
    order = [name for name in RecipeHeader.model_fields if name in header]
    return {name: header[name] for name in order} | {"stages": stages}


def render_resolved(recipe: Recipe) -> str:
    """The text of a run's recipe.yaml."""
    lines = [f"# {recipe.source} as resolved by Tuningfork {__version__}: every value and where it came from"]
    _mapping(recipe, resolved_data(recipe), (), 0, lines)
    return "\n".join(lines) + "\n"


def value_origin(recipe: Recipe, location: Location) -> str:
    """`default`, `snazzy.yaml:12`, `command line` or `variant pretrained, snazzy.yaml:40`.

    In a recipe that is itself a resolved one, what its comment says.
    """
    origin = recipe.document.origins.get(location)
    if origin is None:
        return "default"
    if origin.line is not None and Path(origin.source).name == RECIPE and Path(origin.source).is_file():
        line = Path(origin.source).read_text(encoding="utf-8").splitlines()[origin.line - 1]
        return line.rpartition("  # ")[2] if "  # " in line else origin.short
    return origin.short


def _mapping(recipe: Recipe, data: Mapping[str, Any], location: Location, indent: int, lines: list[str]) -> None:
    for key, value in data.items():
        _entry(recipe, f"{' ' * indent}{render_scalar(key)}:", value, (*location, key), indent + 2, lines)


def _entry(recipe: Recipe, start: str, value: Any, location: Location, indent: int, lines: list[str]) -> None:
    """One `key: value` line, or the key and its block below."""
    if isinstance(value, Mapping) and value:
        lines.append(start)
        _mapping(recipe, value, location, indent, lines)
    elif isinstance(value, list) and value and all(isinstance(item, Mapping) and item for item in value):
        lines.append(start)
        for index, item in enumerate(value):
            below: list[str] = []
            _mapping(recipe, item, (*location, index), indent + 2, below)
            lines.extend([" " * indent + "- " + below[0].lstrip(), *below[1:]])
    else:
        lines.append(f"{start} {render_scalar(value)}".ljust(_COMMENT_COLUMN) + f"  # {value_origin(recipe, location)}")
