"""Repetition in a response: minus the share of its word n-grams that occurred in it before."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

import tuningfork.settings
from tuningfork.evals.text import repetition, words
from tuningfork.reward.base import Item, Reward, RewardSources, Score


class Settings(tuningfork.settings.Settings):
    """Settings of repetition as reward."""

    n: int = Field(default=3, ge=1)
    """words in a row that count as repeated when they occur again"""


def load(settings: Settings, sources: RewardSources) -> Reward:
    """Nothing to load."""
    return RepetitionReward(settings)


class RepetitionReward:
    """0 for a text that repeats nothing, towards -1 for one that only repeats itself."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def score(self, items: Sequence[Item]) -> list[Score]:
        """One score an item."""
        return [Score(0.0 - repetition(words(item.response), self.settings.n)) for item in items]
