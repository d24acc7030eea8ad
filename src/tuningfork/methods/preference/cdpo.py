"""cDPO, conservative DPO: Mitchell 2023 ("A note on DPO with noisy preferences"), on DPO (2305.18290).

loss = -(1 - e) logsig(beta h) - e logsig(-beta h)

e is the share of labels believed to be the wrong way round. The minimum lies at sigma(beta h) = 1 - e: pairs are not
pushed apart for ever.
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
    """Settings of cDPO."""

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
    losses = -(1.0 - flipped) * logsigmoid(margins) - flipped * logsigmoid(-margins)
    return log_ratio.finish(losses, margins, batch, settings)


start_loss = log_ratio.log_2

ABOUT = about.About(
    title="cDPO",
    summary="DPO that believes some labels to be the wrong way round, and stops pushing at that certainty",
    papers=("Mitchell 2023, on 2305.18290",),
    loss="`-(1-e) logsig(beta h) - e logsig(-beta h)`",
    columns={"log-probabilities": "sum"},
    defaults={
        "beta": "2305.18290",
        "label_smoothing": "own choice: the share of wrong labels is yours to know",
    },
)
