"""A recipe is data. What makes it run code (rewards in Python, remote code of models) or talk to a host is listed and needs
--trust. A key is bound to its host by that: the two are trusted together."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuningfork.artifacts.files import hash_json, write_json
from tuningfork.errors import RecipeError
from tuningfork.folders import config_folder
from tuningfork.keys import code_file, code_hash, own_method_hash, own_methods
from tuningfork.recipe import Recipe, Stage
from tuningfork.settings import CodeMarker, HostMarker, marked_values


@dataclass(frozen=True)
class CodeItem:
    """One thing of a recipe that runs code which is not Tuningfork's, or that sends data to a host."""

    setting: str
    description: str
    sha256: str
    does: str = "runs code"


def code_items(recipe: Recipe) -> list[CodeItem]:
    """Everything in the recipe that runs code or talks to a host, with the hash of its content."""
    items = []
    for stage in recipe.stages:
        for location, value in marked_values(stage.settings, CodeMarker):
            setting = ".".join(map(str, (stage.id, *location)))
            if isinstance(value, str):
                items.append(CodeItem(setting, f"{value} ({code_file(value)})", code_hash(value)))
            elif value:
                models = {field: str(reference) for field, reference in stage.inputs.items()}
                items.append(
                    CodeItem(
                        setting, f"code that comes with {', '.join(models.values()) or 'a model'}", hash_json(models)
                    )
                )
        for place, file in own_methods(stage).items():
            items.append(CodeItem(f"{stage.id}.{place}", f"the method {file.stem} ({file})", own_method_hash(file)))
        items += [_host_item(stage, location, url) for location, url in marked_values(stage.settings, HostMarker)]
    return items


def _host_item(stage: Stage, location: tuple[str | int, ...], url: str) -> CodeItem:
    """The address and the key that is named beside it; neither alone is trusted with the other."""
    holder: Any = stage.settings
    for step in location[:-1]:
        holder = holder[step] if isinstance(step, int) else getattr(holder, step)
    key = getattr(holder, "key_env", None)
    description = f"{url}{f' with the key in {key}' if key else ''}"
    setting = ".".join(map(str, (stage.id, *location)))
    return CodeItem(setting, description, hash_json(["host", url, key]), "sends data to a host")


def require_trust(recipe: Recipe, say: Callable[[str], None], trust: bool) -> None:
    """List the recipe's code. RecipeError unless each was trusted before, or `trust` says so now, which is kept."""
    items = code_items(recipe)
    known = _read()
    new = [item for item in items if item.sha256 not in known]
    for item in items:
        say(
            f"{item.does}: {item.setting}: {item.description}, sha256 {item.sha256[:12]}{' (new)' if item in new else ''}"
        )
    if new and not trust:
        names = ", ".join(item.setting for item in new)
        raise RecipeError(
            f"the recipe {' and '.join(dict.fromkeys(i.does for i in new))} that is not trusted yet ({names}); "
            "read it, then give --trust once"
        )
    if new:
        path = _path()
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(
            path, {**known, **{item.sha256: f"{recipe.name}: {item.setting}: {item.description}" for item in new}}
        )


def _path() -> Path:
    return config_folder() / "trust.json"


def _read() -> dict[str, str]:
    path = _path()
    try:
        known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError as error:
        raise RecipeError(f"{path} is not valid JSON ({error}); mend or delete it") from error
    return known if isinstance(known, dict) else {}
