"""The language of a response: how much of it is in the one that is wanted, by script and function words."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import field_validator

import tuningfork.settings
from tuningfork.evals.language import known_languages, language_shares
from tuningfork.reward.base import UNSCORABLE, Item, Reward, RewardSources, Score


class Settings(tuningfork.settings.Settings):
    """Settings of a language as reward."""

    language: str
    """two-letter code of the language that is wanted: en, de, fr ..."""

    @field_validator("language")
    @classmethod
    def _is_known(cls, value: str) -> str:
        if value not in known_languages():
            raise ValueError(f"no language {value!r}; there are {', '.join(known_languages())}")
        return value


def load(settings: Settings, sources: RewardSources) -> Reward:
    """Nothing to load."""
    return LanguageReward(settings)


class LanguageReward:
    """The share of the language, 0 to 1. A response without a letter has no language: it is unscorable."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def score(self, items: Sequence[Item]) -> list[Score]:
        """One score an item."""
        return [
            Score(language_shares(item.response)[self.settings.language])
            if any(character.isalpha() for character in item.response)
            else UNSCORABLE
            for item in items
        ]
