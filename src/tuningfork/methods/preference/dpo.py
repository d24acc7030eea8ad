"""DPO, direct preference optimisation: Rafailov et al. 2023 (2305.18290), eq. 7.

h    = (P_c - R_c) - (P_r - R_r), log-probabilities summed over tokens
loss = -logsig(beta h)
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
    """Settings of DPO."""

    beta: float = Field(default=0.1, gt=0)
    """How strongly the policy is held to the reference; smaller lets it go further."""


def needs(settings: Settings) -> PreferenceNeeds:
    """The reference."""
    return PreferenceNeeds(reference=True)


def loss(batch: PairLogprobs, settings: Settings) -> tuple[Tensor, dict[str, Tensor]]:
    """Losses and metrics (B,)."""
    margins = settings.beta * log_ratio.difference(batch)
    return log_ratio.finish(-logsigmoid(margins), margins, batch, settings)


start_loss = log_ratio.log_2

ABOUT = about.About(
    title="DPO",
    summary="the chosen response becomes likelier than the rejected one, measured from the reference",
    papers=("2305.18290",),
    loss="`-logsig(beta h)`",
    columns={"log-probabilities": "sum"},
    defaults={
        "beta": "2305.18290; 0.5 there for summaries",
    },
)
