"""A reward as judge: the response with the higher score is better. Rules, lexicons and reward models judge this way."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import Field

import tuningfork.settings
from tuningfork.judges.base import Judge, Opinion, Pair, RaterKind
from tuningfork.reward.settings import RewardSettings

if TYPE_CHECKING:
    from tuningfork.reward.base import Reward
    from tuningfork.stage import StageContext


class Settings(tuningfork.settings.Settings):
    """Settings of a reward as judge."""

    reward: RewardSettings
    """what scores both responses"""
    scale: float | None = Field(default=None, gt=0)
    """scores apart by so much are preferred 73 % of the time: p = 1 / (1 + exp(-difference / scale)), as in a reward model
    (1 for a learned one); empty makes a plain choice of it"""


def load(stage: StageContext, settings: Settings, field: str) -> Judge:
    """The judge over its reward."""
    from tuningfork.reward import load_reward

    reward = load_reward(settings.reward, stage.inputs, stage.runtime, field=f"{field}.reward")
    return RewardJudge(reward, settings)


class RewardJudge:
    """Compares scores. Without a score of either response there is no opinion."""

    kind: RaterKind = "rule"

    def __init__(self, reward: Reward, settings: Settings) -> None:
        self.reward, self.settings = reward, settings
        self.name = f"reward {settings.reward.name}"

    def compare(self, pairs: Sequence[Pair]) -> list[Opinion | None]:
        """One opinion a pair."""
        first, second = self.totals(pairs), self.totals([pair.swapped() for pair in pairs])
        return [self._opinion(a, b) for a, b in zip(first, second, strict=True)]

    def totals(self, pairs: Sequence[Pair]) -> list[float | None]:
        """Scores of the responses that are shown first."""
        from tuningfork.reward.base import Item

        items = [Item(pair.prompt, pair.a.text, pair.row) for pair in pairs]
        return [score.total for score in self.reward.score(items)]

    def _opinion(self, a: float | None, b: float | None) -> Opinion:
        if a is None or b is None:
            return Opinion(None, "unscorable")
        if self.settings.scale is None:
            probability = 0.5 + 0.5 * ((a > b) - (a < b))
        else:
            probability = 0.5 * (1 + math.tanh((a - b) / self.settings.scale / 2))
        return Opinion(probability, f"{a:g} | {b:g}")
