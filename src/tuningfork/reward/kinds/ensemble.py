"""Several reward models as one: the mean of their scores, less what they disagree on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pydantic import Field

import tuningfork.settings
from tuningfork.reward.base import Reward, RewardSources
from tuningfork.settings import Input

if TYPE_CHECKING:
    from tuningfork.stage import ResolvedInput


class Settings(tuningfork.settings.Settings):
    """Settings of an ensemble of reward models that were trained apart."""

    models: tuple[Input, ...] = Field(min_length=2)
    """folders of reward models, e.g. [reward-a/model, reward-b/model]; those trained together (`members` of the stage `reward`)
    are one folder, which the kind `learned` reads"""
    disagreement: float = Field(default=0.0, ge=0)
    """how much of the members' standard deviation is taken from the mean"""
    accept_failed_card: bool = False
    """use reward models although a card says that nothing should be optimised on them"""


def load(settings: Settings, sources: RewardSources) -> Reward:
    """The reward models, frozen; those that are adapters over the policy's base share its trunk."""
    from tuningfork.reward.ensemble import Ensemble
    from tuningfork.reward.kinds import learned

    members = []
    for number, model in enumerate(settings.models):
        own: dict[str, ResolvedInput] = {"model": sources.inputs[f"models.{number}"]}
        chosen = learned.Settings(model=model, accept_failed_card=settings.accept_failed_card)
        members.append(learned.load(chosen, replace(sources, inputs=own)))
    return Ensemble(members, settings.disagreement)
