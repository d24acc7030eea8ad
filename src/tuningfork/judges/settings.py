"""The choice of a judge in a recipe: `{name: model, by: {kind: local, model: FOLDER}}`. No torch here."""

from __future__ import annotations

import functools
import importlib
import operator
import pkgutil
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import pydantic

import tuningfork.settings
from tuningfork.judges import kinds
from tuningfork.judges.base import JudgeKind


def kind_names() -> list[str]:
    """Names of all kinds of judges."""
    return sorted(module.name for module in pkgutil.iter_modules(kinds.__path__))


def kind_module(name: str) -> JudgeKind:
    """The module of a kind."""
    return cast(JudgeKind, importlib.import_module(f"{kinds.__name__}.{name}"))


def _named_settings(name: str) -> type[tuningfork.settings.Settings]:
    module = kind_module(name)
    field: dict[str, Any] = {"name": (Literal[name], ...)}
    return pydantic.create_model(f"{name}_judge", __base__=module.Settings, __doc__=module.__doc__, **field)


if TYPE_CHECKING:
    JudgeSettings = Any
else:
    JudgeSettings = Annotated[
        functools.reduce(operator.or_, [_named_settings(name) for name in kind_names()]),
        pydantic.Field(discriminator="name"),
    ]
