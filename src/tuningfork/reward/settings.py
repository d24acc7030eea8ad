"""The choice of a reward in a recipe: `{name: lexicon, words: good.txt}`. No torch here.

Made from the files of `reward.kinds`, so that a new file there is known everywhere.
"""

from __future__ import annotations

import functools
import importlib
import operator
import pkgutil
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import pydantic

import tuningfork.settings
from tuningfork.reward import kinds
from tuningfork.reward.base import RewardKind


def kind_names() -> list[str]:
    """Names of all kinds of rewards, combinations apart."""
    return sorted(module.name for module in pkgutil.iter_modules(kinds.__path__))


def kind_module(name: str) -> RewardKind:
    """The module of a kind."""
    return cast(RewardKind, importlib.import_module(f"{kinds.__name__}.{name}"))


def _named_settings(name: str) -> type[tuningfork.settings.Settings]:
    module = kind_module(name)
    field: dict[str, Any] = {"name": (Literal[name], ...)}
    return pydantic.create_model(f"{name}_reward", __base__=module.Settings, __doc__=module.__doc__, **field)


_kinds = [_named_settings(name) for name in kind_names()]

if TYPE_CHECKING:
    SingleRewardSettings = Any
    RewardSettings = Any
else:
    SingleRewardSettings = Annotated[functools.reduce(operator.or_, _kinds), pydantic.Field(discriminator="name")]


class Term(tuningfork.settings.Settings):
    """One reward of a weighted sum."""

    reward: SingleRewardSettings
    """the reward"""
    weight: float
    """its weight; negative for what should become less"""
    mean: float = 0.0
    """subtracted from its score first"""
    deviation: float = pydantic.Field(default=1.0, gt=0)
    """the score is then divided by it; rewards of different units need it"""


class CombinedSettings(tuningfork.settings.Settings):
    """A weighted sum of rewards."""

    name: Literal["combined"]
    terms: dict[str, Term] = pydantic.Field(min_length=1)
    """name of the term -> reward and weight"""


if not TYPE_CHECKING:
    RewardSettings = Annotated[
        functools.reduce(operator.or_, [*_kinds, CombinedSettings]), pydantic.Field(discriminator="name")
    ]
