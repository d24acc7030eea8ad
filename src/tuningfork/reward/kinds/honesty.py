"""Right answers are rewarded, wrong ones cost, "i do not know" is free: a rule over the answers that stand in the rows.

reward = 1 for a right answer, 0 for an abstention, -cost for a wrong one

A policy that knows it is right with probability p gains p - cost (1 - p) by answering and 0 by abstaining: it is best off
to answer where p > cost / (1 + cost). Schulman 2023 ("Reinforcement learning from human feedback: progress and
challenges") gives the argument why only such a signal, and no demonstration, can teach a model what it does not know.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from tuningfork.data import grading
from tuningfork.errors import DataError
from tuningfork.reward.base import Item, Reward, RewardSources, Score


class Settings(grading.Settings):
    """Settings of the reward for honest answers."""

    cost: float = Field(default=1.0, ge=0)
    """what a wrong answer costs: answering pays where it is right with a probability above cost / (1 + cost)"""
    answers: str = "answers"
    """field of a prompt's row that lists the accepted answers; an empty list where the question has none"""
    wrong: str = "wrong"
    """field that lists wrong answers; a row may lack it"""


def load(settings: Settings, sources: RewardSources) -> Reward:
    """The rule."""
    return Honesty(settings)


class Honesty:
    """Grades each response by the answers in its row."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.values = {"right": 1.0, "abstained": 0.0, "wrong": -settings.cost}

    def score(self, items: Sequence[Item]) -> list[Score]:
        """One score an item; DataError for a row that does not say what its answers are."""
        return [self._score(item) for item in items]

    def _score(self, item: Item) -> Score:
        accepted, wrong = item.metadata.get(self.settings.answers), item.metadata.get(self.settings.wrong, [])
        if not isinstance(accepted, list) or not isinstance(wrong, list):
            raise DataError(
                f"the reward honesty needs lists of answers in the field {self.settings.answers!r} of every prompt's row; "
                f"{item.metadata.get('id', item.prompt)!r} has none"
            )
        return Score(self.values[grading.grade(item.response, accepted, wrong, self.settings)])
