"""IPO, identity preference optimisation: Azar et al. 2023 (2310.12036), eq. 17.

loss = (h - 1 / (2 tau))^2

The paper's h is of whole responses; then the margin asked for weighs less the longer they are. By default each side's
log-ratio is divided by its own length, as trl does after asking the authors; OpenRLHF sums.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from tuningfork.batch import PairLogprobs, PreferenceNeeds
from tuningfork.methods import about, log_ratio

if TYPE_CHECKING:
    from torch import Tensor


class Settings(log_ratio.Settings):
    """Settings of IPO."""

    tau: float = Field(default=0.1, gt=0)
    """How strongly the policy is held to the reference: the margin aimed at is 1 / (2 tau)."""
    normalise: Literal["tokens", "sum"] = "tokens"
    """Log-ratios a token, or summed over the response as the paper has it; tau means something else in each."""


def needs(settings: Settings) -> PreferenceNeeds:
    """The reference."""
    return PreferenceNeeds(reference=True)


def loss(batch: PairLogprobs, settings: Settings) -> tuple[Tensor, dict[str, Tensor]]:
    """Losses and metrics (B,)."""
    is_summed = settings.normalise == "sum"
    margins = log_ratio.difference(batch) if is_summed else log_ratio.difference_a_token(batch)
    losses = (margins - 1.0 / (2.0 * settings.tau)).square()
    return log_ratio.finish(losses, margins, batch, settings)


def start_loss(batch: PairLogprobs, settings: Settings) -> Tensor:
    """Losses (B,) where the policy is still the reference: the square of the margin aimed at."""
    return batch.chosen.new_full(batch.chosen.shape, (1.0 / (2.0 * settings.tau)) ** 2)


ABOUT = about.About(
    title="IPO",
    summary="a margin of fixed size between chosen and rejected, no more and no less",
    papers=("2310.12036",),
    loss="`(h - 1/(2 tau))^2`",
    columns={"log-probabilities": "a token (`normalise: sum` for the paper's)"},
    defaults={
        "tau": "trl",
        "normalise": "trl, after asking the authors; 2310.12036 sums",
    },
)
