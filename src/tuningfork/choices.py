"""Choices by name in a recipe: `{name: lexicon, words: good.txt}` takes the file `lexicon.py` of a package. No torch here.

Made from the files of the package, so that a new file there is known everywhere.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable
from types import ModuleType
from typing import Any, Literal

import pydantic

from tuningfork.settings import Settings


def names_in(path: Iterable[str]) -> tuple[str, ...]:
    """Names of all kinds in a package, which gives its own `__path__`: so a stage's key covers every file there."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(path)))


def kind_module(package: ModuleType, name: str) -> Any:
    """The module of a kind."""
    return importlib.import_module(f"{package.__name__}.{name}")


def named_settings(package: ModuleType, names: Iterable[str], what: str) -> list[type[Settings]]:
    """The `Settings` of each kind with its `name` in front; `what` they are goes into the names of the classes."""
    return [_named(kind_module(package, name), name, what) for name in names]


def _named(module: ModuleType, name: str, what: str) -> type[Settings]:
    field: dict[str, Any] = {"name": (Literal[name], ...)}
    base: type[Settings] = module.Settings
    return pydantic.create_model(f"{name}_{what}", __base__=base, __doc__=module.__doc__, **field)
