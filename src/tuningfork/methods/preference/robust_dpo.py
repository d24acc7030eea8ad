"""Robust DPO: Chowdhury et al. 2024 (2403.00409), eq. 12.

loss = (-(1 - e) logsig(beta h) + e logsig(-beta h)) / (1 - 2 e)

Its mean over labels of which a share e is flipped is DPO's loss on the true labels; single losses may be negative.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from tuningfork.batch import PairLogprobs, PreferenceNeeds
from tuningfork.methods import about, log_ratio
from tuningfork.tensors import logsigmoid

if TYPE_CHECKING:
    from torch import Tensor


class Settings(log_ratio.Settings):
    """Settings of robust DPO."""

    beta: float = Field(default=0.1, gt=0)
    """How strongly the policy is held to the reference; smaller lets it go further."""
    label_smoothing: float = Field(default=0.1, ge=0, lt=0.5)
    """Share of pairs believed to be labelled the wrong way round (e)."""


def needs(settings: Settings) -> PreferenceNeeds:
    """The reference."""
    return PreferenceNeeds(reference=True)


def loss(batch: PairLogprobs, settings: Settings) -> tuple[Tensor, dict[str, Tensor]]:
    """Losses and metrics (B,)."""
    margins, flipped = settings.beta * log_ratio.difference(batch), settings.label_smoothing
    right, wrong = -logsigmoid(margins), -logsigmoid(-margins)
    losses = ((1.0 - flipped) * right - flipped * wrong) / (1.0 - 2.0 * flipped)
    return log_ratio.finish(losses, margins, batch, settings)


start_loss = log_ratio.log_2

ABOUT = about.About(
    title="Robust DPO",
    summary="DPO whose loss is right on average although some labels are the wrong way round",
    papers=("2403.00409",),
    loss="`(-(1-e) logsig(beta h) + e logsig(-beta h)) / (1-2e)`",
    columns={"log-probabilities": "sum"},
    defaults={
        "beta": "2305.18290",
        "label_smoothing": "own choice: the share of wrong labels is yours to know",
    },
)
