"""One label of a sequence classifier as reward, chosen by name and read as log-odds, which do not saturate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import tuningfork.settings
from tuningfork.reward.base import Item, Reward, RewardSources, Score, TextPart
from tuningfork.settings import Input

if TYPE_CHECKING:
    from tuningfork.model.classifier import Classifier


class Settings(tuningfork.settings.Settings):
    """Settings of a classifier as reward."""

    model: Input
    """folder or hub id of a sequence classifier"""
    label: str
    """name of the label that is wanted, as the classifier calls it"""
    reads: TextPart = "prompt_and_response"
    """what is classified"""
    scale: Literal["log_odds", "probability"] = "log_odds"
    """log p / (1 - p) of the label, or p; differences of p vanish near 0 and 1"""


def load(settings: Settings, sources: RewardSources) -> Reward:
    """The classifier, frozen; ModelError for a label it does not have."""
    from tuningfork.model.classifier import Classifier

    classifier = Classifier.load(sources.inputs["model"].reference, settings.label, sources.runtime)
    return ClassifierReward(classifier, settings)


class ClassifierReward:
    """Scores of a classifier. Texts longer than it was trained for are cut at the end and counted by it."""

    def __init__(self, classifier: Classifier, settings: Settings) -> None:
        self.classifier, self.settings = classifier, settings

    def score(self, items: Sequence[Item]) -> list[Score]:
        """One score an item."""
        if not items:
            return []
        scores = self.classifier.score([item.text(self.settings.reads) for item in items])
        values = scores.sigmoid() if self.settings.scale == "probability" else scores
        return [Score(value, {self.settings.label: value}) for value in values.tolist()]
