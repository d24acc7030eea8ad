"""ROUGE of a response against references: overlap of words, word pairs or common subsequences (Lin 2004)."""

from __future__ import annotations

from collections.abc import Sequence

import tuningfork.settings
from tuningfork.evals.overlap import RougeKind, rouge
from tuningfork.reward.base import Item, Reward, RewardSources, Score
from tuningfork.reward.fields import texts


class Settings(tuningfork.settings.Settings):
    """Settings of ROUGE as reward."""

    variant: RougeKind = "rouge_l"
    """`rouge_1`, `rouge_2`: words, word pairs; `rouge_l`: longest common subsequence; `rouge_lsum`: the same by line"""
    references: str = "references"
    """column of the prompt's row with the reference, or the list of references; the most similar one counts"""


def load(settings: Settings, sources: RewardSources) -> Reward:
    """Nothing to load."""
    return RougeReward(settings)


class RougeReward:
    """F1 from 0 to 1, with precision and recall as its parts."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def score(self, items: Sequence[Item]) -> list[Score]:
        """One score an item; DataError for a row without references."""
        found = [rouge(self.settings.variant, item.response, texts(item, self.settings.references)) for item in items]
        return [Score(one.f1, {"precision": one.precision, "recall": one.recall}) for one in found]
