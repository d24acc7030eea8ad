"""The length of a response: nothing is taken off between two limits, and more the further it is outside of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self

from pydantic import Field, model_validator

import tuningfork.settings
from tuningfork.errors import DataError
from tuningfork.reward.base import Item, Reward, RewardSources, Score


class Settings(tuningfork.settings.Settings):
    """Settings of a length as reward."""

    unit: Literal["words", "characters", "tokens"] = "words"
    """what is counted; tokens only where they were sampled"""
    at_least: int = Field(default=0, ge=0)
    """shortest length that costs nothing"""
    at_most: int | None = Field(default=None, ge=0)
    """longest length that costs nothing; empty has no limit"""
    per: float = Field(default=10.0, gt=0)
    """so many units outside of the limits cost 1"""

    @model_validator(mode="after")
    def _limits_something(self) -> Self:
        if not self.at_least and self.at_most is None:
            raise ValueError("give at_least or at_most: without a limit every length is alike")
        if self.at_most is not None and self.at_most < self.at_least:
            raise ValueError("at_most is less than at_least")
        return self


def load(settings: Settings, sources: RewardSources) -> Reward:
    """Nothing to load."""
    return LengthReward(settings)


class LengthReward:
    """Minus the distance to the limits over `per`; the length is its part."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def score(self, items: Sequence[Item]) -> list[Score]:
        """One score an item; DataError where tokens are asked for and not known."""
        return [self._score(self._length(item)) for item in items]

    def _score(self, length: int) -> Score:
        too_short = max(0, self.settings.at_least - length)
        too_long = 0 if self.settings.at_most is None else max(0, length - self.settings.at_most)
        return Score(0.0 - (too_short + too_long) / self.settings.per, {self.settings.unit: float(length)})

    def _length(self, item: Item) -> int:
        if self.settings.unit == "words":
            return len(item.response.split())
        if self.settings.unit == "characters":
            return len(item.response)
        if item.response_ids is None:
            raise DataError("unit: tokens: a file of texts has no tokens; count words or characters")
        return len(item.response_ids)
