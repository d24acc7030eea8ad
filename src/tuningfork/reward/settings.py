"""The choice of a reward in a recipe: `{name: lexicon, words: good.txt}`. No torch here."""

from __future__ import annotations

import functools
import operator
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, cast

import pydantic

import tuningfork.settings
from tuningfork import choices
from tuningfork.reward import kinds
from tuningfork.reward.base import RewardKind


def kind_names() -> list[str]:
    """Names of all kinds of rewards, combinations apart."""
    return list(kinds.NAMES)


def kind_module(name: str) -> RewardKind:
    """The module of a kind."""
    return cast(RewardKind, choices.kind_module(kinds, name))


_kinds = choices.named_settings(kinds, kinds.NAMES, "reward")

if TYPE_CHECKING:
    SingleRewardSettings = Any
    RewardSettings = Any
else:
    SingleRewardSettings = Annotated[functools.reduce(operator.or_, _kinds), pydantic.Field(discriminator="name")]


class Arm(tuningfork.settings.Settings):
    """One reward among others, and the scale of its scores."""

    reward: SingleRewardSettings
    """the reward"""
    mean: float = 0.0
    """subtracted from its score first"""
    deviation: float = pydantic.Field(default=1.0, gt=0)
    """the score is then divided by it; rewards of different units need it"""
    scale: tuningfork.settings.Input | None = None
    """mean and deviation from a file instead, such as `score/scale.json` of a stage `score` with this reward"""
    clip: float | None = pydantic.Field(default=None, gt=0)
    """the standardised score is then kept between minus and plus this; empty does not clip"""

    @pydantic.model_validator(mode="after")
    def _has_one_scale(self) -> Self:
        if self.scale is not None and self.model_fields_set & {"mean", "deviation"}:
            raise ValueError("scale is instead of mean and deviation; give one of them")
        return self


class Term(Arm):
    """One reward of a weighted sum."""

    weight: float
    """its weight; negative for what should become less"""


class CombinedSettings(tuningfork.settings.Settings):
    """A weighted sum of rewards."""

    name: Literal["combined"]
    terms: dict[str, Term] = pydantic.Field(min_length=1)
    """name of the term -> reward and weight"""


class GatedSettings(tuningfork.settings.Settings):
    """One reward before another, as safety before helpfulness (Llama 2, 2307.09288, section 3.2.3): where the gate's raw
    score is below a threshold, or the prompt is marked, the gate's score counts; elsewhere the other reward's."""

    name: Literal["gated"]
    gate: Arm
    """the reward that comes first"""
    threshold: float = 0.15
    """raw score of the gate below which it decides"""
    marked: str | None = None
    """column of the prompt's row that is true where the gate decides whatever its score; empty for none"""
    otherwise: Arm
    """the reward that counts where the gate does not decide"""


if not TYPE_CHECKING:
    RewardSettings = Annotated[
        functools.reduce(operator.or_, [*_kinds, CombinedSettings, GatedSettings]),
        pydantic.Field(discriminator="name"),
    ]
"""Kinds of rewards, one file each, with what `reward.base.RewardKind` lists. All import without torch."""
