"""Settings of the parts of the stage `reward`. No torch here."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from tuningfork.methods import regression
from tuningfork.model.settings import Frozen, Full, Lora, Unfreeze
from tuningfork.settings import Input, Settings

RewardAdapterSettings = Annotated[Lora | Unfreeze | Full | Frozen, Field(discriminator="kind")]
"""What trains besides the head. `lora` and `frozen` leave the base as it is, so that policy and reward can share one trunk."""


class MarginSettings(Settings):
    """How far apart two scores shall be, from how much better one answer was found."""

    source: Literal["strength", "ratings", "places"] = "strength"
    """what says how much: the rater's `strength` (of the best answer over the others), the difference of the answers' mean
    `ratings`, or the places between them"""
    scale: float = Field(default=1.0, gt=0)
    """margin for each unit of it; with strengths from 0 to 3, 1/3 and 1 are the small and the large margins of Llama 2"""
    most: float | None = Field(default=None, gt=0)
    """largest margin"""


class LabelSettings(Settings):
    """How texts of two classes are read."""

    values: dict[str, float] = Field(default_factory=dict)
    """class -> how good it is, from 0 to 1; pos, neg, truth values and numbers from 0 to 1 need none"""
    window: tuple[int, int] = (20, 200)
    """least and most tokens of the random window that each draw of a text shows"""
    whole_minimum: float = Field(default=0.85, ge=0, le=1)
    """least accuracy on whole held-out texts"""
    short_minimum: float = Field(default=0.72, ge=0, le=1)
    """least accuracy on windows of `short_words` words"""
    short_words: int = Field(default=36, ge=1)
    """words in a short window"""

    @model_validator(mode="after")
    def _check_values(self) -> Self:
        wrong = next((name for name, value in self.values.items() if not 0 <= value <= 1), None)
        if wrong is not None:
            raise ValueError(f"values: {wrong} is {self.values[wrong]:g}; how good a class is goes from 0 to 1")
        return self


class RatingSettings(Settings):
    """How ratings are learnt."""

    learn: Literal["values", "pairs"] = "values"
    """`values`: the score is to be the rating; `pairs`: of two texts drawn from the data the higher rated one is to score
    higher, with the rating's difference as `margin` where that is set"""
    loss: regression.Settings = regression.Settings()
    """the price of an error; only with `values`"""
    pairs_per_text: int = Field(default=1, ge=1)
    """pairs that each text begins; only with `pairs`"""
    least_difference: float = Field(default=0.0, ge=0)
    """pairs whose ratings are not further apart, in the rater's units, are not made; only with `pairs`"""
    minimum: float = Field(default=0.2, ge=-1, le=1)
    """least rank correlation (Spearman) of score and rating on held-out texts"""


class ContrastSettings(Settings):
    """A gate on pairs of known order: does the reward know each kind of difference, also where it was not trained?"""

    data: Input
    """rows `{"name", "group", "prompt", "better", "worse"}`"""
    group: str = "held_out"
    """only rows of this group count for the gate; the others are reported"""
    minimum: dict[str, float]
    """contrast name -> least share in the right order"""
