"""ORPO, odds-ratio preference optimisation: Hong et al. 2024 (2403.07691), eq. 6 and 7; no reference.

p    = exp(P / |y|), the geometric mean of the response's token probabilities
odds = p / (1 - p)
loss = -P_c / |c| - lambda logsig(log odds_c - log odds_r)

The likelihood is that of the chosen response alone; trl takes the prompt with it for decoders.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

import tuningfork.settings
from tuningfork.batch import PairLogprobs, PreferenceNeeds
from tuningfork.methods import about, log_ratio
from tuningfork.tensors import log1mexp, logsigmoid

if TYPE_CHECKING:
    from torch import Tensor


class Settings(tuningfork.settings.Settings):
    """Settings of ORPO."""

    odds_coefficient: float = Field(default=0.1, ge=0)
    """Weight of the odds ratio beside the likelihood (lambda; trl calls it beta)."""


def needs(settings: Settings) -> PreferenceNeeds:
    """Nothing but the policy."""
    return PreferenceNeeds()


def loss(batch: PairLogprobs, settings: Settings) -> tuple[Tensor, dict[str, Tensor]]:
    """Losses and metrics (B,); the margin is the log odds ratio."""
    chosen, rejected = log_ratio.average_logprobs(batch)
    margins = (chosen - log1mexp(chosen)) - (rejected - log1mexp(rejected))
    odds_loss = -logsigmoid(margins)
    metrics = log_ratio.pair_metrics(odds_loss, margins) | {"chosen_nll": -chosen.detach()}
    return settings.odds_coefficient * odds_loss - chosen, metrics


ABOUT = about.About(
    title="ORPO",
    summary="fine-tuning and preference in one loss: likelihood, and the odds against the rejected response",
    papers=("2403.07691",),
    loss="`-P_c/|c| - lambda logsig(log odds ratio)`",
    columns={"log-probabilities": "a token"},
    defaults={
        "odds_coefficient": "2403.07691",
    },
)
