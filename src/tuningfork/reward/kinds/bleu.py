"""BLEU of a response against references: overlap of n-grams with what people wrote (Papineni et al. 2002)."""

from __future__ import annotations

from collections.abc import Sequence

import tuningfork.settings
from tuningfork.evals.overlap import Tokenizer, sentence_bleu
from tuningfork.reward.base import Item, Reward, RewardSources, Score
from tuningfork.reward.fields import texts


class Settings(tuningfork.settings.Settings):
    """Settings of BLEU as reward."""

    references: str = "references"
    """column of the prompt's row with the reference, or the list of references"""
    tokenizer: Tokenizer = "13a"
    """how texts are cut: 13a (most European languages), intl, zh, char, or none (at spaces)"""
    lowercase: bool = False
    """whether capital letters are alike to small ones"""


def load(settings: Settings, sources: RewardSources) -> Reward:
    """Nothing to load."""
    return BleuReward(settings)


class BleuReward:
    """Sentence BLEU from 0 to 1, smoothed for n > 1; precisions and brevity penalty are its parts."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def score(self, items: Sequence[Item]) -> list[Score]:
        """One score an item; DataError for a row without references."""
        return [self._score(item) for item in items]

    def _score(self, item: Item) -> Score:
        found = sentence_bleu(
            item.response.strip(),
            texts(item, self.settings.references),
            tokenizer=self.settings.tokenizer,
            lowercase=self.settings.lowercase,
        )
        parts = {f"precision_{n}": value for n, value in enumerate(found.precisions, 1)}
        return Score(found.score, parts | {"brevity_penalty": found.brevity_penalty})
