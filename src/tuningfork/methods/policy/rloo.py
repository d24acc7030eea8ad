"""RLOO, REINFORCE with the mean of the other responses as baseline: Ahmadian et al. 2024 (2402.14740), section 3.2.

R_i  = score_i - beta (sum over tokens of logprob - ref_logprob)              with kl_in: reward
A_i  = R_i - mean of R_j over the other responses j to the same prompt
rho  = exp(sum over tokens of logprob - old_logprob)                          the response is one action
L_i  = max(-A_i rho, -A_i clip(rho, 1 - e, 1 + e))

With fresh responses rho is 1 and the gradient -A_i times that of the response's log-probability, as in the paper; the
clip (trl's) acts where a batch is used again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from tuningfork.batch import Advantages, Experience, Needs, PolicyBatch
from tuningfork.methods import about, regularisation
from tuningfork.methods.advantage import compare_in_groups, on_every_token
from tuningfork.methods.average import Average
from tuningfork.methods.surrogate import clipped_surrogate, group_metrics, sequence_log_ratio

if TYPE_CHECKING:
    from torch import Tensor

average: Average = "sequence_mean"


class Settings(regularisation.Settings):
    """Settings of RLOO."""

    clip_range: float = Field(default=0.2, gt=0, lt=1)
    """How far the ratio of a whole response may leave 1 before its gradient stops (e)."""
    epochs: int = Field(default=1, ge=1)
    """Passes over each batch of responses."""


def needs(settings: Settings) -> Needs:
    """Several responses to each prompt."""
    return Needs(reference=settings.kl_in != "none", entropy=settings.entropy_coefficient > 0, groups=True)


def advantages(experience: Experience, settings: Settings) -> tuple[Advantages, dict[str, float]]:
    """Reward of each response less the mean of the others, on each of its tokens: (B, T)."""
    assert experience.groups is not None, "RLOO needs groups"
    rewards = regularisation.response_rewards(experience, settings)
    compared = compare_in_groups(rewards, experience.groups, experience.is_scored)
    return Advantages(advantages=on_every_token(compared.leave_one_out(), experience.mask)), {}


def token_loss(batch: PolicyBatch, settings: Settings) -> tuple[Tensor, dict[str, Tensor]]:
    """Losses (B, T): that of the response on each of its tokens, 0 outside the mask; and metrics (B, T)."""
    batch = batch.zero_padding()
    log_ratio = sequence_log_ratio(batch.logprobs, batch.old_logprobs, batch.mask, mean=False)
    losses = clipped_surrogate(log_ratio, log_ratio.new_zeros(()), batch.advantages, settings.clip_range)
    metrics = group_metrics(batch.logprobs, batch.old_logprobs, batch.advantages, losses, log_ratio.exp())
    return regularisation.add_terms(losses, metrics, batch, settings)


ABOUT = about.About(
    title="RLOO",
    summary="a whole response is one action, compared with the other responses to its prompt",
    papers=("2402.14740",),
    loss="clipped surrogate of the whole response's ratio",
    columns={"baseline": "mean of the other responses to the prompt"},
    defaults={
        "clip_range": "trl; the paper has no ratio",
        "epochs": "2402.14740",
    },
)
