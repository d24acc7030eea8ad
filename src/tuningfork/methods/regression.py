"""Scores from ratings: the score is to be the rating.

    squared   (s - y)^2 / 2
    huber     (s - y)^2 / 2 where |s - y| <= delta, else delta (|s - y| - delta / 2)      Huber 1964
Ratings come standardised (mean 0, deviation 1 over those learnt from), so that delta and the learning rate mean the same
whatever the rater's units. A rating that was not given (its mask is False) has no loss and no gradient.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

import tuningfork.settings

if TYPE_CHECKING:
    from torch import Tensor


class Settings(tuningfork.settings.Settings):
    """How a scorer learns from ratings."""

    kind: Literal["squared", "huber"] = "squared"
    """the error's price; `huber` lets single odd ratings pull less"""
    delta: float = Field(default=1.0, gt=0)
    """where huber turns from squared to linear, in deviations of the ratings; only with huber"""


def rating_loss(scores: Tensor, ratings: Tensor, mask: Tensor, settings: Settings) -> tuple[Tensor, dict[str, Tensor]]:
    """Losses (B,) of scores (B, C) against standardised ratings (B, C) on C criteria, and metrics (B,).

    mask (B, C) True where a rating was given. A loss is the mean over the criteria that were rated, 0 where none was.
    """
    errors = (scores - ratings).masked_fill(~mask, 0.0)
    losses = errors.square() / 2.0
    if settings.kind == "huber":
        linear = settings.delta * (errors.abs() - settings.delta / 2.0)
        losses = losses.where(errors.abs() <= settings.delta, linear)
    count = mask.sum(1).clamp(min=1)
    losses = losses.sum(1) / count
    return losses, {"loss": losses.detach(), "rating_error": errors.detach().abs().sum(1) / count}
