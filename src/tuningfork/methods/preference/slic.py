"""SLiC-HF, calibration by rank: Zhao et al. 2023 (2305.10425), eq. 2; no reference.

loss = max(0, delta - P_c + P_r) - lambda P_target

The regulariser's target is the chosen response, the best that was ranked (HALOs); the other target of the paper, answers
of the fine-tuning data, is the stage's `replay`. The paper leaves open whether P is a sum over tokens (HALOs) or a mean
(the SLiC paper of 2022, 2210.00045); a sum favours what is short.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

import tuningfork.settings
from tuningfork.batch import PairLogprobs, PreferenceNeeds
from tuningfork.methods import about, log_ratio

if TYPE_CHECKING:
    from torch import Tensor


class Settings(tuningfork.settings.Settings):
    """Settings of SLiC-HF; the defaults are those of HALOs."""

    delta: float = Field(default=1.0, gt=0)
    """The margin asked for, in nats (a token, with `normalise: tokens`)."""
    regulariser: float = Field(default=0.1, ge=0)
    """Weight of the chosen response's negative log-likelihood (lambda)."""
    normalise: Literal["sum", "tokens"] = "sum"
    """Log-probabilities summed over the response, or a token."""


def needs(settings: Settings) -> PreferenceNeeds:
    """Nothing but the policy."""
    return PreferenceNeeds()


def loss(batch: PairLogprobs, settings: Settings) -> tuple[Tensor, dict[str, Tensor]]:
    """Losses and metrics (B,)."""
    is_summed = settings.normalise == "sum"
    chosen, rejected = (batch.chosen, batch.rejected) if is_summed else log_ratio.average_logprobs(batch)
    margins = chosen - rejected
    calibration = (settings.delta - margins).clamp(min=0.0)
    return calibration - settings.regulariser * chosen, log_ratio.pair_metrics(calibration, margins)


ABOUT = about.About(
    title="SLiC-HF",
    summary="likelihood follows rank up to a margin, and the chosen response stays likely; no reference",
    papers=(
        "2305.10425",
        "2210.00045",
    ),
    loss="`max(0, delta - P_c + P_r) - lambda P_c`",
    columns={"log-probabilities": "sum (or `normalise: tokens`)"},
    defaults={
        "delta": "HALOs",
        "regulariser": "HALOs",
        "normalise": "HALOs; 2305.10425 leaves it open",
    },
)
