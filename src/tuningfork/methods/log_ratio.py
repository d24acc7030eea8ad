"""What preference methods are made of: log-probabilities of a chosen and a rejected response, set against each other.

P and R are a response's log-probabilities under the policy and the reference, SUMMED over its tokens:
    h = (P_c - R_c) - (P_r - R_r)
beta (P - R) is the reward that the policy is optimal for, up to a constant of the prompt (Rafailov et al. 2023,
2305.18290, eq. 5): comparable within a prompt, not between prompts.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pydantic import Field

import tuningfork.settings

if TYPE_CHECKING:
    from torch import Tensor

    from tuningfork.batch import PairLogprobs


class Settings(tuningfork.settings.Settings):
    """Settings that methods for pairs share."""

    nll_coefficient: float = Field(default=0.0, ge=0)
    """Weight of the chosen response's negative log-likelihood a token, which keeps it likely (the term of RPO)."""


def difference(batch: PairLogprobs) -> Tensor:
    """h (B,): how much more the policy moved towards the chosen response than towards the rejected one, in nats."""
    chosen, rejected = _log_ratios(batch)
    return chosen - rejected


def difference_a_token(batch: PairLogprobs) -> Tensor:
    """The same with each side's log-ratio divided by its own length: (B,), in nats a token."""
    chosen, rejected = _log_ratios(batch)
    return chosen / batch.chosen_lengths - rejected / batch.rejected_lengths


def average_logprobs(batch: PairLogprobs) -> tuple[Tensor, Tensor]:
    """Log-probability a token of the chosen and of the rejected responses: (B,) and (B,)."""
    return batch.chosen / batch.chosen_lengths, batch.rejected / batch.rejected_lengths


def finish(
    losses: Tensor, margins: Tensor, batch: PairLogprobs, settings: Settings
) -> tuple[Tensor, dict[str, Tensor]]:
    """Losses (B,) with the likelihood term, and metrics (B,): loss on pairs, margin, accuracy (a tie counts half)."""
    metrics = pair_metrics(losses, margins)
    if settings.nll_coefficient > 0:
        nll = -average_logprobs(batch)[0]
        losses = losses + settings.nll_coefficient * nll
        metrics["chosen_nll"] = nll.detach()
    return losses, metrics


def log_2(batch: PairLogprobs, settings: object) -> Tensor:
    """Losses (B,) of the sigmoid kind where the policy is still the reference: log 2 for every pair."""
    return batch.chosen.new_full(batch.chosen.shape, math.log(2.0))


def pair_metrics(losses: Tensor, margins: Tensor) -> dict[str, Tensor]:
    """Detached metrics (B,) of losses on pairs and their margins (B,), above 0 where the chosen response is ahead."""
    margins = margins.detach()
    return {"preference_loss": losses.detach(), "margin": margins, "accuracy": (margins.sign() + 1.0) / 2.0}


def _log_ratios(batch: PairLogprobs) -> tuple[Tensor, Tensor]:
    assert batch.ref_chosen is not None and batch.ref_rejected is not None, "this method needs a reference"
    return batch.chosen - batch.ref_chosen.detach(), batch.rejected - batch.ref_rejected.detach()


DEFAULTS = {"nll_coefficient": "no such term in the method's paper; 1 in 2404.19733"}
"""Where the defaults of the settings here are from."""
