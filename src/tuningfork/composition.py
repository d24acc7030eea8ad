"""Composing a recipe's data before it is checked: stage ids, dotted keys, overrides, variants, `$model` references.

Works on plain data with origins. What the keys mean is checked later, by the settings classes of the stages.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tuningfork.document import Document, Location, Origin, parse_value, walk
from tuningfork.errors import RecipeError
from tuningfork.kinds import stage_settings, suggestion
from tuningfork.validation import models_at

COMMAND_LINE = Origin("command line")
HEADER_KEYS = ("name", "description", "seed", "seeds", "model", "data", "runtime", "second_read", "search")
"""Keys of a recipe that overrides and variants may change."""
STAGE_KEYS = ("id", "seed")
"""Keys that every stage has beside its settings."""
SHARED_VALUES = ("model", "data", "seed")

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_REFERENCE = re.compile(r"\$([A-Za-z_]+)(/.*)?")
_SECRET = re.compile(
    r"(.*_)?(api_?key|password|passwd|secret|(hf|hub|auth|access|api|bearer)_token)|token", re.IGNORECASE
)
_SECRET_VALUE = re.compile(r"(hf_|sk-|ghp_|xox[bp]-)[A-Za-z0-9_-]{16,}")


def apply_overrides(document: Document, overrides: Sequence[str]) -> None:
    """Apply the variants that hold, then `key=value` overrides. RecipeError for a key that names nothing."""
    pairs = [_split(text) for text in overrides]
    variants = document.data.pop("variants", None) or {}
    is_pretrained = isinstance(_final_model(document, pairs), str)
    for name, values in variants.items():
        for key, value in values.items():
            origin = replace(document.origins[("variants", name, key)], label=f"variant {name}")
            location = locate(document, key, origin)
            _refuse_unknown(key, location, origin)
            if is_pretrained:
                document.put(location, value, origin)
    for key, value in pairs:
        document.put(locate(document, key, COMMAND_LINE), value, COMMAND_LINE)


def locate(document: Document, key: str, origin: Origin) -> Location:
    """Where a dotted key points to; stages are addressed by id."""
    first, *rest = key.split(".")
    if not all((first, *rest)):
        raise RecipeError(f"{origin.place}: {key}: a dotted key has a name before and after each dot")
    ids = stage_ids(document)
    if first in ids:
        kind = kind_at(document, ids.index(first))
        if not rest:
            example = next(iter(stage_settings(kind).model_fields), "seed")
            raise RecipeError(f"{origin.place}: {key}: name a setting of the stage, such as {first}.{example}")
        return ("stages", ids.index(first), kind, *dotted(".".join(rest)))
    if first not in HEADER_KEYS:
        raise RecipeError(f"{origin.place}: {key}: unknown key; {suggestion(first, [*ids, *HEADER_KEYS])}")
    return dotted(key)


def dotted(key: str) -> Location:
    """`a.0.b` as a location."""
    return tuple(int(step) if step.isdecimal() else step for step in key.split("."))


def kind_at(document: Document, index: int) -> str:
    """The kind of the stage at a position."""
    return next(iter(document.data["stages"][index]))


def stage_ids(document: Document) -> list[str]:
    """Ids of all stages in order; RecipeError for an entry that is no stage, or an id that occurs twice."""
    ids: list[str] = []
    for index in range(len(document.data["stages"])):
        id = _stage_id(document, index)
        if id in ids:
            place = document.origins[("stages", index)].place
            example = f"- {kind_at(document, index)}: {{id: {id}-2}}"
            raise RecipeError(f"{place}: two stages are called {id}; give one of them an id of its own: `{example}`")
        ids.append(id)
    return ids


def _stage_id(document: Document, index: int) -> str:
    entry = document.data["stages"][index]
    place = document.origins[("stages", index)].place
    if len(entry) != 1:
        got = ", ".join(entry) or "nothing"
        raise RecipeError(f"{place}: a stage is one key with its settings, `- sft: {{...}}`, got {got}")
    kind = kind_at(document, index)
    if entry[kind] is None:
        entry[kind] = {}
    if not isinstance(entry[kind], dict):
        raise RecipeError(f"{place}: {kind}: the settings of a stage are a mapping, got {entry[kind]!r}")
    id = entry[kind].get("id", kind)
    if not isinstance(id, str) or not _ID.fullmatch(id) or id in (*HEADER_KEYS, "stages", "variants", "version"):
        rule = "letters, digits, - and _, and no key of a recipe"
        raise RecipeError(f"{place}: {kind}.id: {id!r} cannot be the id of a stage: {rule}")
    return id


def substitute(document: Document) -> None:
    """Replace `$model`, `$data`, `$seed` and `$data/file` inside stages by the recipe's values."""
    for location, value in list(walk(document.data["stages"], ("stages",))):
        match = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            continue
        name, rest = match[1], match[2]
        place = document.origins[location].place
        if name not in SHARED_VALUES:
            allowed = ", ".join(f"${shared}" for shared in SHARED_VALUES)
            raise RecipeError(f"{place}: {value}: unknown reference; allowed: {allowed}")
        shared = document.data.get(name, 0 if name == "seed" else None)
        if shared is None:
            raise RecipeError(
                f"{place}: {value}: the recipe has no {name}; add `{name}: ...` to it, or give {name}=..."
            )
        if rest and not isinstance(shared, str):
            raise RecipeError(f"{place}: {value}: {name} is not a path")
        origins = {at[1:]: origin for at, origin in document.origins.items() if at[:1] == (name,)}
        found = shared.rstrip("/") + rest if rest else copy.deepcopy(shared)
        document.put(location, found, origins.get((), document.origins[location]))
        document.origins.update({(*location, *below): origin for below, origin in origins.items()})


def refuse_secrets(document: Document) -> None:
    """RecipeError for a value that is, or is called like, a password or an access token."""
    for location, value in walk(document.data):
        key = str(location[-1]) if location else ""
        if isinstance(value, str) and value and (_SECRET.fullmatch(key) or _SECRET_VALUE.fullmatch(value)):
            origin = document.origin(location) or COMMAND_LINE
            advice = f"give the name of an environment variable, as {key}_env"
            raise RecipeError(f"{origin.place}: {key}: a recipe holds no secrets; {advice}")


def _split(override: str) -> tuple[str, Any]:
    key, equals, value = override.partition("=")
    if not equals or not key.strip():
        raise RecipeError(f"command line: {override!r} is not of the form key=value")
    return key.strip(), parse_value(value)


def _final_model(document: Document, pairs: Sequence[tuple[str, Any]]) -> Any:
    """The recipe's `model` after all overrides."""
    trial = Document({"model": copy.deepcopy(document.data.get("model"))})
    for key, value in pairs:
        if key.partition(".")[0] == "model":
            trial.put(dotted(key), value, COMMAND_LINE)
    return trial.data["model"]


def _refuse_unknown(key: str, location: Location, origin: Origin) -> None:
    """RecipeError for a dotted key that its stage does not have; asked also where the value is not applied."""
    if location[0] != "stages":
        return
    settings_class, steps = stage_settings(str(location[2])), location[3:]
    for depth, step in enumerate(steps):
        models = models_at(settings_class, steps[:depth], None)
        known = {name for model in models for name in model.model_fields}
        if models and step not in known and not (depth == 0 and step in STAGE_KEYS):
            raise RecipeError(f"{origin.place}: {key}: unknown key; {suggestion(str(step), known)}")
