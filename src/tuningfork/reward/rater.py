"""A rater made of a reward: prefers the answer of the higher score, as often as the model of Bradley and Terry says.

So a reward and the methods that learn from preferences alone can be given the same labels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from tuningfork.randomness import derive_seed, uniforms
from tuningfork.reward.base import Item, Reward


class RewardRater:
    """Compares answers by their scores: P(first) = sigmoid((first - second) / temperature)."""

    def __init__(self, reward: Reward, seed: int, temperature: float) -> None:
        self.reward, self.seed, self.temperature = reward, seed, temperature
        self._scores: dict[tuple[str, str], float | None] = {}

    def read(self, items: Sequence[Item]) -> None:
        """Score answers that are going to be compared, all at once."""
        for item, score in zip(items, self.reward.score(items), strict=True):
            self._scores[item.prompt, item.response] = score.total

    def score(self, item: Item) -> float | None:
        """The score of an answer that was read; None where it has none."""
        return self._scores[item.prompt, item.response]

    def compare(self, name: str, first: Item, second: Item) -> Literal["a", "b", "tie"]:
        """The preferred answer; the comparison `name` always draws the same number. A tie where one has no score."""
        a, b = self.score(first), self.score(second)
        if a is None or b is None:
            return "tie"
        chance = 0.5 * (1 + math.tanh((a - b) / self.temperature / 2))  # the sigmoid, without overflow
        return "a" if float(uniforms([derive_seed(self.seed, "rater", name)], 0)[0]) < chance else "b"
