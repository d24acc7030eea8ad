"""Online DPO: Guo et al. 2024 (2402.04792); sample, let the reward judge the best against the worst, update.

h      = (P_c - R_c) - (P_r - R_r), P and R summed log-probabilities of policy and reference, c the best, r the worst
loss   = -logsig(beta h) on each pair; its gradient is -beta sigma(-beta h) times that of (P_c - P_r)
A      = beta sigma(-beta h) on the best response to a prompt, minus that on the worst, 0 on the others
loss_t = -A logprob_t

With fresh responses, h is known before the update, so that this loss has the very gradient of DPO's, and a pair may be
cut into micro-batches. Prompts whose responses have one score make no pair.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

import tuningfork.settings
from tuningfork.batch import Advantages, Experience, Needs, PolicyBatch
from tuningfork.methods import about
from tuningfork.methods.advantage import best_and_worst, on_every_token
from tuningfork.methods.average import Average
from tuningfork.methods.surrogate import policy_gradient, ratio_metrics
from tuningfork.tensors import logsigmoid, masked_sum

if TYPE_CHECKING:
    from torch import Tensor

average: Average = "sequence_sum"


class Settings(tuningfork.settings.Settings):
    """Settings of online DPO."""

    beta: float = Field(default=0.1, gt=0)
    """How strongly the policy is held to the reference; the stage's `kl.coefficient` has no part in it."""


def needs(settings: Settings) -> Needs:
    """The reference and several fresh responses to each prompt."""
    return Needs(reference=True, groups=True, on_policy=True)


def advantages(experience: Experience, settings: Settings) -> tuple[Advantages, dict[str, float]]:
    """beta sigma(-beta h) on the best, minus that on the worst response to each prompt, (B, T); and DPO's loss."""
    groups, mask = experience.groups, experience.mask
    assert groups is not None and experience.ref_logprobs is not None, "online DPO needs groups and a reference"
    best, worst = best_and_worst(experience.scores, groups, experience.is_scored)
    log_ratios = masked_sum(experience.old_logprobs - experience.ref_logprobs, mask, -1)
    margins = settings.beta * (log_ratios[best] - log_ratios[worst])
    slopes = settings.beta * (-margins).sigmoid()
    signed = log_ratios.new_zeros(len(mask)).index_add(0, best, slopes).index_add(0, worst, -slopes)
    # The average divides by the number of responses; the loss is a mean over pairs.
    signed = signed * experience.is_scored.sum() / max(1, len(best))
    metrics = {
        "pairs": float(len(best)),
        "preference_loss": float(-logsigmoid(margins).mean()) if len(best) else 0.0,
    }
    return Advantages(advantages=on_every_token(signed, mask)), metrics


def token_loss(batch: PolicyBatch, settings: Settings) -> tuple[Tensor, dict[str, Tensor]]:
    """Losses (B, T), 0 outside the mask, and metrics (B, T)."""
    batch = batch.zero_padding()
    losses = policy_gradient(batch.logprobs, batch.advantages)
    return losses, ratio_metrics(batch.logprobs, batch.old_logprobs, losses)


ABOUT = about.About(
    title="Online DPO",
    summary="samples, lets the reward pick the best and the worst, and prefers the one to the other",
    papers=("2402.04792",),
    loss="`-logsig(beta h)` of the best and the worst response to a prompt",
    columns={"average": "pairs", "baseline": "the other response of the pair", "KL": "in `beta`"},
    defaults={
        "beta": "as DPO, 2305.18290",
    },
)
