"""A recipe of one stage, made on the fly for commands such as `tuningfork sft --model M --data D`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tuningfork.composition import COMMAND_LINE, HEADER_KEYS
from tuningfork.document import Document, walk
from tuningfork.errors import RecipeError
from tuningfork.kinds import stage_settings
from tuningfork.recipe import Recipe, compose_recipe


def one_stage_recipe(kind: str, *, model: str | None, data: str | None, overrides: Sequence[str]) -> Recipe:
    """The recipe with the one stage `kind`; overrides name settings of the stage, or `seed` and `runtime.*`."""
    settings: dict[str, Any] = {}
    for name, value in (("model", model), ("data", data)):
        if value is None:
            continue
        if name not in stage_settings(kind).model_fields:
            raise RecipeError(f"{kind} has no setting {name}; see `tuningfork explain {kind}`")
        settings[name] = value
    document = Document({"version": 1, "name": kind, "stages": [{kind: settings}]})
    document.origins = {location: COMMAND_LINE for location, _ in walk(document.data)}
    return compose_recipe(document, "command line", [_qualified(kind, text) for text in overrides])


def _qualified(kind: str, override: str) -> str:
    """`steps=3` as `sft.steps=3`; keys of the recipe itself stay."""
    first = override.partition("=")[0].partition(".")[0]
    own = set(HEADER_KEYS) - {"model", "data"} - set(stage_settings(kind).model_fields)
    return override if first in own else f"{kind}.{override}"
