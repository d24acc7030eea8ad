"""Kinds of stages, found by file name: `stages/<kind>.py` makes the kind `<kind>`. There is no table to edit.

Folders named in the environment variable TUNINGFORK_STAGES (separated like PATH) add stages of one's own.
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


def stage_kinds() -> list[str]:
    """Names of all kinds of stages, in alphabetical order."""
    _add_own_folders()
    return sorted({module.name for module in pkgutil.iter_modules(tuningfork.stages.__path__)})


def stage_module(kind: str) -> ModuleType:
    """The module of a kind; RecipeError with the nearest name for an unknown one."""
    kinds = stage_kinds()
    if kind not in kinds:
        raise RecipeError(f"there is no stage {kind!r}; {suggestion(kind, kinds)}")
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


def _add_own_folders() -> None:
    for folder in os.environ.get(STAGE_FOLDERS, "").split(os.pathsep):
        if folder and (path := str(Path(folder).resolve())) not in tuningfork.stages.__path__:
            tuningfork.stages.__path__.append(path)
