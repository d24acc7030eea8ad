"""Kinds of stages, found by file name: `stages/<kind>.py` makes the kind `<kind>`. There is no table to edit.

Folders named in the environment variable TUNINGFORK_STAGES (separated like PATH) add stages of one's own; those in
TUNINGFORK_METHODS add methods: `policy/<name>.py`, `preference/<name>.py` and `selection/<name>.py` below them.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import os
import pkgutil
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import tuningfork.stages
from tuningfork.errors import RecipeError

if TYPE_CHECKING:
    from tuningfork.settings import Settings

STAGE_FOLDERS = "TUNINGFORK_STAGES"
METHOD_FOLDERS = "TUNINGFORK_METHODS"
METHOD_FAMILIES = ("policy", "preference", "selection")


def stage_kinds() -> list[str]:
    """Names of all kinds of stages, in alphabetical order."""
    for folder in _folders(STAGE_FOLDERS):
        if str(folder) not in tuningfork.stages.__path__:
            tuningfork.stages.__path__.append(str(folder))
    return sorted({module.name for module in pkgutil.iter_modules(tuningfork.stages.__path__)})


def stage_module(kind: str) -> ModuleType:
    """The module of a kind; RecipeError with the nearest name for an unknown one."""
    kinds = stage_kinds()
    if kind not in kinds:
        raise RecipeError(f"there is no stage {kind!r}; {suggestion(kind, kinds)}")
    use_own_methods()
    return importlib.import_module(f"{tuningfork.stages.__name__}.{kind}")


def stage_summary(kind: str) -> str:
    """The first line of a kind's file, which says what the stage does; read without importing it."""
    found = importlib.util.find_spec(f"{tuningfork.stages.__name__}.{kind}")
    assert found is not None and found.origin is not None, kind
    with Path(found.origin).open(encoding="utf-8") as file:
        return file.readline().strip().strip('"').strip()


def stage_settings(kind: str) -> type[Settings]:
    """The settings class of a kind."""
    return stage_module(kind).StageSettings


def suggestion(word: str, allowed: Iterable[str]) -> str:
    """`did you mean X?`, or what is allowed where nothing is near."""
    allowed = sorted(allowed)
    near = difflib.get_close_matches(word, allowed, n=1)
    return f"did you mean {near[0]}?" if near else f"allowed: {', '.join(allowed) or 'nothing'}"


def use_own_methods() -> None:
    """Let methods in the user's own folders be found; RecipeError for one that is called like one of ours.

    Settings that name a method are made when a stage's module is imported, so this comes before every such import.
    """
    for folder in _folders(METHOD_FOLDERS):
        for family in METHOD_FAMILIES:
            package, below = _methods(family), folder / family
            if str(below) not in package.__path__:
                _refuse_taken_names(below, package)
                package.__path__.append(str(below))


def own_method_file(module: str) -> Path | None:
    """The file of a method in one of the user's own folders, by its module's name; None for what is no such method."""
    package = module.rpartition(".")[0]
    if not _folders(METHOD_FOLDERS) or package not in {_methods(family).__name__ for family in METHOD_FAMILIES}:
        return None
    file = Path(str(importlib.import_module(module).__file__))
    return None if file.is_relative_to(Path(tuningfork.__path__[0])) else file


def _methods(family: str) -> ModuleType:
    return importlib.import_module(f"{tuningfork.__name__}.methods.{family}")


def _folders(variable: str) -> list[Path]:
    return [Path(folder).resolve() for folder in os.environ.get(variable, "").split(os.pathsep) if folder]


def _refuse_taken_names(folder: Path, package: ModuleType) -> None:
    taken = {module.name for module in pkgutil.iter_modules(package.__path__)}
    for file in sorted(folder.glob("*.py")):
        if file.stem in taken:
            raise RecipeError(f"{file}: there is a method {file.stem!r} already; give yours another name")
