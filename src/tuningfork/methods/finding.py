"""Methods by name: a file in a package of methods is a method, and there is no table to edit."""

from __future__ import annotations

import difflib
import functools
import importlib
import operator
import pkgutil
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import Annotated, Any, Literal

import pydantic

import tuningfork.settings
from tuningfork.errors import RecipeError


def names_in(path: Iterable[str]) -> list[str]:
    """Names of all methods of the package with this path, in alphabetical order."""
    return sorted(module.name for module in pkgutil.iter_modules(path))


def load_from(package: str, name: str, known: list[str], kind: str) -> ModuleType:
    """The module of this name; a name that is not `known` is a `RecipeError` that says what is near it."""
    if name not in known:
        near = difflib.get_close_matches(name, known)
        hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(known)}."
        raise RecipeError(f"no {kind} {name!r}: {hint}")
    return importlib.import_module(f"{package}.{name}")


def choice_of(methods: Mapping[str, Any]) -> Any:
    """The type of a setting that names one of the methods and sets it: `{name: ppo, clip_range: 0.2}`.

    Checked by that method's own settings.
    """
    choices = [_named_settings(name, method) for name, method in methods.items()]
    return Annotated[functools.reduce(operator.or_, choices), pydantic.Field(discriminator="name")]


def _named_settings(name: str, method: Any) -> type[tuningfork.settings.Settings]:
    field: dict[str, Any] = {"name": (Literal[name], name)}
    base: type[tuningfork.settings.Settings] = method.Settings
    return pydantic.create_model(f"{name}_settings", __base__=base, __doc__=method.__doc__, **field)
