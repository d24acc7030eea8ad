"""Rewards: anything that turns (prompt, response, metadata) into a number with named parts.

Each file in `kinds` is one kind of reward, found by name; `settings.RewardSettings` is the choice among them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tuningfork.reward.base import Reward, RewardSources

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from tuningfork.model.backbone import Backbone
    from tuningfork.reward.settings import Arm, RewardSettings
    from tuningfork.runtime import Runtime
    from tuningfork.stage import ResolvedInput


def load_reward(
    settings: RewardSettings,
    inputs: Mapping[str, ResolvedInput],
    runtime: Runtime,
    *,
    backbone: Backbone | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
    field: str = "reward",
) -> Reward:
    """The reward that `settings` describe.

    `inputs` are a stage's, `field` is where the settings stand in it. `tokenizer` made the ids of the items (default:
    that of `backbone`); without it rewards read texts. A reward model that is an adapter over the weights of `backbone`
    is attached to it, which saves a second trunk.
    """
    from tuningfork.reward.combine import Combined, Gated, Standardised
    from tuningfork.reward.scale import ScoreScale
    from tuningfork.reward.settings import CombinedSettings, GatedSettings, kind_module

    if tokenizer is None and backbone is not None:
        tokenizer = backbone.tokenizer

    def load_arm(arm: Arm, place: str) -> Standardised:
        reward = load_reward(
            arm.reward, inputs, runtime, backbone=backbone, tokenizer=tokenizer, field=f"{place}.reward"
        )
        if arm.scale is None:
            return Standardised.of(reward, arm)
        scale = ScoreScale.load(Path(inputs[f"{place}.scale"].reference))
        return Standardised(reward, arm, scale.mean, scale.deviation)

    if isinstance(settings, CombinedSettings):
        terms = {name: load_arm(term, f"{field}.terms.{name}") for name, term in settings.terms.items()}
        return Combined(settings, terms)
    if isinstance(settings, GatedSettings):
        sides = (load_arm(getattr(settings, name), f"{field}.{name}") for name in ("gate", "otherwise"))
        return Gated(settings, *sides)
    own = {name.removeprefix(f"{field}."): value for name, value in inputs.items() if name.startswith(f"{field}.")}
    return kind_module(settings.name).load(settings, RewardSources(own, runtime, backbone, tokenizer))
