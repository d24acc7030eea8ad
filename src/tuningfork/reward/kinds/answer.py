"""A right answer as reward: equal to the one that is known, the same number, or matched by a pattern."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

import tuningfork.settings
from tuningfork.data.novelty import words_of
from tuningfork.errors import DataError
from tuningfork.reward.base import Item, Reward, RewardSources, Score
from tuningfork.reward.fields import column

_NUMBER = re.compile(r"[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+)?(?:[eE][-+]?\d+)?")


class Settings(tuningfork.settings.Settings):
    """Settings of right answers as reward."""

    match: Literal["exact", "number", "pattern"]
    """`exact`: the same words, whatever the case and punctuation; `number`: the same last number; `pattern`: what the
    column holds is a regular expression that occurs in the answer"""
    answer: str = "answer"
    """column of the prompt's row with the right answer, or a list of right answers"""
    extract: str | None = None
    """regular expression with one group that finds the answer in a response, the last time it occurs (`#### (.*)`); a
    response where it does not occur is wrong. Empty takes the whole response"""
    tolerance: float = Field(default=1e-6, ge=0)
    """of numbers: largest difference that is still right, relative to the right one"""
    right: float = 1.0
    """score of a right answer"""
    wrong: float = 0.0
    """score of any other"""

    @field_validator("extract")
    @classmethod
    def _has_one_group(cls, value: str | None) -> str | None:
        try:
            if value is not None and re.compile(value).groups != 1:
                raise ValueError("extract needs one group in parentheses: the answer")
        except re.error as error:
            raise ValueError(f"extract is no regular expression ({error})") from error
        return value

    @model_validator(mode="after")
    def _tolerance_is_of_numbers(self) -> Self:
        if self.match != "number" and "tolerance" in self.model_fields_set:
            raise ValueError("tolerance has no effect without match: number")
        return self


def load(settings: Settings, sources: RewardSources) -> Reward:
    """Nothing to load."""
    return AnswerReward(settings)


class AnswerReward:
    """`right` or `wrong`; the part `answered` is 1 where there was an answer to compare at all."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def score(self, items: Sequence[Item]) -> list[Score]:
        """One score an item; DataError for a row without an answer, or with one that cannot be compared."""
        return [self._score(item) for item in items]

    def _score(self, item: Item) -> Score:
        given, known = self._extracted(item.response), column(item, self.settings.answer)
        rights = known if isinstance(known, list) else [known]
        is_right = given is not None and any(self._is_right(given, str(right)) for right in rights)
        has_answer = given is not None and (self.settings.match != "number" or last_number(given) is not None)
        return Score(self.settings.right if is_right else self.settings.wrong, {"answered": float(has_answer)})

    def _extracted(self, response: str) -> str | None:
        if self.settings.extract is None:
            return response
        found = re.findall(self.settings.extract, response)
        return found[-1] if found else None

    def _is_right(self, given: str, right: str) -> bool:
        if self.settings.match == "exact":
            return words_of(given) == words_of(right)
        if self.settings.match == "pattern":
            try:
                return re.search(right, given) is not None
            except re.error as error:
                raise DataError(f"column {self.settings.answer!r}: {right!r} is no regular expression") from error
        wanted, found = last_number(right), last_number(given)
        if wanted is None:
            raise DataError(f"column {self.settings.answer!r}: {right[:60]!r} holds no number")
        return found is not None and math.isclose(found, wanted, rel_tol=self.settings.tolerance, abs_tol=1e-12)


def last_number(text: str) -> float | None:
    """The last number of a text, thousands separated by commas or not; None where there is none."""
    found = [match.group() for match in _NUMBER.finditer(text) if any(char.isdigit() for char in match.group())]
    return float(found[-1].replace(",", "")) if found else None
