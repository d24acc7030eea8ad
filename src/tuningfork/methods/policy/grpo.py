"""GRPO: Shao et al. 2024 (2402.03300), eq. 3 and 4; one response's score against those of its group, no critic.

A_i    = (score_i - mean of the group) / (deviation of the group + 1e-4)
loss_t = max(-A_i ratio_t, -A_i clip(ratio_t, 1 - e, 1 + e)) + beta k3_t

Averaged over the tokens of a response first, then over responses. The deviation is that over n - 1 unless asked
otherwise, and 1e-4 is added to it (trl); the paper says neither.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from tuningfork.batch import Advantages, Experience, Needs, PolicyBatch
from tuningfork.methods import about, regularisation
from tuningfork.methods.advantage import GROUP_EPSILON, compare_in_groups, on_every_token
from tuningfork.methods.average import Average
from tuningfork.methods.surrogate import clipped_surrogate, group_metrics
from tuningfork.tensors import masked_var

if TYPE_CHECKING:
    from torch import Tensor

average: Average = "sequence_mean"


class Settings(regularisation.Settings):
    """Settings of GRPO; the price of KL is the stage's `kl.coefficient`, 0.04 in the paper."""

    clip_range: float = Field(default=0.2, gt=0, lt=1)
    """How far the ratio of new to old probability may leave 1 before its gradient stops (e)."""
    epochs: int = Field(default=1, ge=1)
    """Passes over each batch of responses."""
    scale: Literal["group", "batch", "none"] = "group"
    """What centred scores are divided by: the deviation of their group, that of all rewards of the batch, or nothing."""
    deviation: Literal["unbiased", "biased"] = "unbiased"
    """Deviation over n - 1 (trl), or over n."""
    kl_in: Literal["reward", "loss", "none"] = "loss"
    """Where KL to the reference is charged: in the reward (k1), as a term of the loss, or nowhere."""
    kl_estimator: Literal["k2", "k3"] | None = "k3"
    """The estimator of KL as a term of the loss; null with `kl_in: reward` and `kl_in: none`."""


def needs(settings: Settings) -> Needs:
    """Several responses to each prompt."""
    return Needs(reference=settings.kl_in != "none", entropy=settings.entropy_coefficient > 0, groups=True)


def advantages(experience: Experience, settings: Settings) -> tuple[Advantages, dict[str, float]]:
    """Standardised reward of each response within its group, on each of its tokens: (B, T)."""
    assert experience.groups is not None, "GRPO needs groups"
    rewards, is_unbiased = regularisation.response_rewards(experience, settings), settings.deviation == "unbiased"
    compared = compare_in_groups(rewards, experience.groups, experience.is_scored, unbiased=is_unbiased)
    estimate = compared.centred
    if settings.scale == "group":
        estimate = compared.standardised()
    if settings.scale == "batch":
        estimate = estimate / (masked_var(rewards, experience.is_scored, unbiased=is_unbiased).sqrt() + GROUP_EPSILON)
    return Advantages(advantages=on_every_token(estimate, experience.mask)), {}


def token_loss(batch: PolicyBatch, settings: Settings) -> tuple[Tensor, dict[str, Tensor]]:
    """Losses (B, T), 0 outside the mask, and metrics (B, T)."""
    batch = batch.zero_padding()
    logprobs, old_logprobs = batch.logprobs, batch.old_logprobs
    losses = clipped_surrogate(logprobs, old_logprobs, batch.advantages, settings.clip_range)
    metrics = group_metrics(logprobs, old_logprobs, batch.advantages, losses, (logprobs - old_logprobs).exp())
    return regularisation.add_terms(losses, metrics, batch, settings)


ABOUT = about.About(
    title="GRPO",
    summary="responses to one prompt are scored against each other; no critic",
    papers=("2402.03300",),
    loss="clipped surrogate a token `+ beta k3`",
    columns={"baseline": "mean of the group, over its deviation"},
    defaults={
        "clip_range": "1707.06347; the paper names none",
        "epochs": "2402.03300",
        "scale": "2402.03300",
        "deviation": "trl; the paper does not say",
        "kl_in": "2402.03300",
        "kl_estimator": "2402.03300",
    },
)
