"""KTO, from single responses that were found good or bad: Ethayarajh et al. 2024 (2402.01306), eq. 7 and 8.

v    = P - R
loss = l_D (1 - sigma(beta (v - z)))     of a desirable response
       l_U (1 - sigma(beta (z - v)))     of an undesirable one
z    = max(0, mean over the optimizer step of P' - R'), on responses of OTHER prompts, without gradient

z is the KL from the reference that both kinds are measured from. With policy = reference every loss is l / 2. The
paper's advice: l_D n_D / (l_U n_U) between 1 and 3/2, n being how many there are of each kind.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

import tuningfork.settings
from tuningfork.batch import PreferenceNeeds, TextLogprobs
from tuningfork.methods import about

if TYPE_CHECKING:
    from torch import Tensor


class Settings(tuningfork.settings.Settings):
    """Settings of KTO."""

    beta: float = Field(default=0.1, gt=0)
    """How strongly the policy is held to the reference; smaller needs a smaller learning rate."""
    desirable_weight: float = Field(default=1.0, gt=0)
    """Weight of responses that were found good (l_D)."""
    undesirable_weight: float = Field(default=1.0, gt=0)
    """Weight of responses that were found bad (l_U)."""


def needs(settings: Settings) -> PreferenceNeeds:
    """The reference, and single responses instead of pairs."""
    return PreferenceNeeds(reference=True, unpaired=True)


def loss(batch: TextLogprobs, settings: Settings) -> tuple[Tensor, dict[str, Tensor]]:
    """Losses and metrics (B,); a response is right where it stands on its side of z, on z it counts half."""
    distances = batch.logprobs - batch.ref_logprobs.detach() - max(0.0, batch.kl)
    signed = settings.beta * distances.where(batch.is_desirable, -distances)
    losses = _weights(batch, settings) * (-signed).sigmoid()  # 1 - sigma(x) = sigma(-x), exact also for large x
    accuracy = (signed.detach().sign() + 1.0) / 2.0
    return losses, {"preference_loss": losses.detach(), "margin": signed.detach(), "accuracy": accuracy}


def start_loss(batch: TextLogprobs, settings: Settings) -> Tensor:
    """Losses (B,) where the policy is still the reference: half of each weight."""
    return _weights(batch, settings) / 2.0


def _weights(batch: TextLogprobs, settings: Settings) -> Tensor:
    weights = batch.logprobs.new_full(batch.logprobs.shape, settings.desirable_weight)
    return weights.where(batch.is_desirable, settings.undesirable_weight)


ABOUT = about.About(
    title="KTO",
    summary="single responses found good or bad move away from what the policy does on average",
    papers=("2402.01306",),
    loss="`l_D (1 - sigma(beta (v - z)))`, `l_U (1 - sigma(beta (z - v)))`",
    columns={"log-probabilities": "sum"},
    defaults={
        "beta": "2402.01306",
        "desirable_weight": "2402.01306, for as many good as bad ones",
        "undesirable_weight": "2402.01306, for as many good as bad ones",
    },
)
