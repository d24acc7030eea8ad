"""The hinge loss of RSO: Liu et al. 2023 (2309.06657), eq. 10; the loss of SLiC on log-ratios to a reference.

loss = max(0, 1 - beta h)

A pair whose margin beta h has reached 1 no longer moves anything. RSO is this on pairs drawn by rejection sampling.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from tuningfork.batch import PairLogprobs, PreferenceNeeds
from tuningfork.methods import about, log_ratio

if TYPE_CHECKING:
    from torch import Tensor


class Settings(log_ratio.Settings):
    """Settings of the hinge loss."""

    beta: float = Field(default=0.05, gt=0)
    """How strongly the policy is held to the reference (gamma in the paper)."""


def needs(settings: Settings) -> PreferenceNeeds:
    """The reference."""
    return PreferenceNeeds(reference=True)


def loss(batch: PairLogprobs, settings: Settings) -> tuple[Tensor, dict[str, Tensor]]:
    """Losses and metrics (B,)."""
    margins = settings.beta * log_ratio.difference(batch)
    return log_ratio.finish((1.0 - margins).clamp(min=0.0), margins, batch, settings)


def start_loss(batch: PairLogprobs, settings: Settings) -> Tensor:
    """Losses (B,) where the policy is still the reference: the whole margin is missing."""
    return batch.chosen.new_full(batch.chosen.shape, 1.0)


ABOUT = about.About(
    title="hinge (RSO)",
    summary="pairs push apart up to a margin and not beyond",
    papers=("2309.06657",),
    loss="`max(0, 1 - beta h)`",
    columns={"log-probabilities": "sum"},
    defaults={
        "beta": "2309.06657",
    },
)
