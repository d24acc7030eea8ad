"""The key of a stage: equal keys mean that running it again would give the same artifact."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from tuningfork.artifacts.files import hash_file, hash_json, relative_files, write_json
from tuningfork.errors import DataError, RecipeError
from tuningfork.kinds import own_method_file
from tuningfork.recipe import Stage, with_inputs
from tuningfork.settings import CodeMarker, marked_values


def stage_key(stage: Stage, inputs: Mapping[str, str], code: str, device: str, precision: str) -> str:
    """sha256 over all that decides the artifact. `inputs` are content keys by field, `code` the hash of the source.

    Neither the recipe's name nor the stage's id nor any path is in it.
    """
    named = {value: code_hash(value) for value in named_code(stage) if isinstance(value, str)}
    named |= {place: own_method_hash(file) for place, file in own_methods(stage).items()}
    return hash_json(
        {
            "kind": stage.kind,
            "settings": with_inputs(stage, inputs),
            "seed": stage.seed,
            "code": [code, named],
            "device": device,
            "precision": precision,
        }
    )


def named_code(stage: Stage) -> list[Any]:
    """Values of settings that make the stage run code of the user's."""
    return [value for _, value in marked_values(stage.settings, CodeMarker) if value]


def own_methods(stage: Stage) -> dict[str, Path]:
    """The user's own methods that a stage's settings name: dotted place -> file."""
    return dict(_own_methods(stage.settings, ()))


def own_method_hash(file: Path) -> str:
    """Hash of a method's file and of the Python files beside it, which it may import."""
    return hash_json({path.name: hash_file(path) for path in sorted(file.parent.glob("*.py"))})


def _own_methods(settings: BaseModel, place: tuple[str, ...]) -> Iterator[tuple[str, Path]]:
    files = {own_method_file(base.__module__) for base in type(settings).__mro__} - {None}
    yield from ((".".join(place), file) for file in files if file is not None)
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, BaseModel):
            yield from _own_methods(value, (*place, name))


def code_hash(reference: str) -> str:
    """Hash of the file behind `file.py:function` or `module:function`; RecipeError where it is not found."""
    return hash_file(code_file(reference))


def code_file(reference: str) -> Path:
    """The file behind `file.py:function` or `module:function`."""
    place, colon, function = reference.rpartition(":")
    if not colon or not function.isidentifier():
        raise RecipeError(f"{reference!r} is not of the form module:function or file.py:function")
    if place.endswith(".py"):
        if not Path(place).is_file():
            raise RecipeError(f"{place} does not exist")
        return Path(place)
    try:
        found = importlib.util.find_spec(place)
    except ModuleNotFoundError:
        found = None
    if found is None or not found.origin or not Path(found.origin).is_file():
        raise RecipeError(f"there is no Python module {place!r} to import")
    return Path(found.origin)


class PathHashes:
    """Content keys of files and folders outside the run, remembered by name, size and time of change."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache
        self._known = _read(cache)
        self._saved = dict(self._known)

    def key(self, path: Path) -> str:
        """Hash of a file, or of the names and contents of a folder. DataError where it cannot be read."""
        try:
            if path.is_file():
                return self._file(path)
            return hash_json({name: self._file(path / name) for name in relative_files(path) if not _is_hidden(name)})
        except OSError as error:
            raise DataError(f"{error.filename or path}: cannot be read ({error.strerror})") from error

    def save(self) -> None:
        """Keep what was learnt for the next run."""
        if self._known == self._saved:
            return
        self._saved = dict(self._known)
        self._cache.parent.mkdir(parents=True, exist_ok=True)
        write_json(self._cache, self._known)

    def _file(self, path: Path) -> str:
        stat = path.stat()
        identity = f"{path.resolve()}|{stat.st_size}|{stat.st_mtime_ns}|{stat.st_ino}"
        if identity not in self._known:
            self._known[identity] = hash_file(path)
        return self._known[identity]


def hub_key(name: str) -> str:
    """Key of a hub model: its name and, where the hub's cache has one, the commit."""
    return _cached_commit(name, "models")


def data_key(name: str) -> str:
    """Key of `world:` and `hf:` data: the name, which with the code says all of a world; for a data set also its commit."""
    return _cached_commit(name.removeprefix("hf:"), "datasets") if name.startswith("hf:") else name


def _cached_commit(name: str, kind: str) -> str:
    cache = Path(
        os.environ.get("HF_HUB_CACHE") or Path(os.environ.get("HF_HOME", "~/.cache/huggingface")) / "hub"
    ).expanduser()
    repository = name.partition(":")[0].replace("/", "--")
    commit = cache / f"{kind}--{repository}" / "refs" / "main"
    return (
        f"{'hub' if kind == 'models' else 'hf'}:{name}@{commit.read_text().strip() if commit.is_file() else 'unknown'}"
    )


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/"))


def _read(cache: Path) -> dict[str, str]:
    try:
        known = json.loads(cache.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}
