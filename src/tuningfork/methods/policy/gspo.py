"""GSPO, one ratio for a whole response: Zheng et al. 2025 (2507.18071), eq. 5 to 7.

A_i = (score_i - mean of the group) / (deviation of the group + 1e-4)
s_i = exp(mean over tokens of logprob - old_logprob)
L_i = max(-A_i s_i, -A_i clip(s_i, 1 - e_low, 1 + e_high))

The ratio is a geometric mean over tokens and hardly moves: its clip ranges are a thousandth of those of token ratios.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

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
    """Settings of GSPO; the clip ranges are the paper's."""

    clip_low: float = Field(default=3e-4, gt=0, lt=1)
    """How far the ratio may fall below 1 before its gradient stops (e_low)."""
    clip_high: float = Field(default=4e-4, gt=0)
    """How far the ratio may rise above 1 before its gradient stops (e_high)."""
    epochs: int = Field(default=1, ge=1)
    """Passes over each batch of responses."""
    kl_in: Literal["reward", "loss", "none"] = "none"
    """Where KL to the reference is charged: in the reward (k1), as a term of the loss, or nowhere."""


def needs(settings: Settings) -> Needs:
    """Several responses to each prompt."""
    return Needs(reference=settings.kl_in != "none", entropy=settings.entropy_coefficient > 0, groups=True)


def advantages(experience: Experience, settings: Settings) -> tuple[Advantages, dict[str, float]]:
    """Standardised reward of each response within its group, on each of its tokens: (B, T)."""
    assert experience.groups is not None, "GSPO needs groups"
    rewards = regularisation.response_rewards(experience, settings)
    compared = compare_in_groups(rewards, experience.groups, experience.is_scored)
    return Advantages(advantages=on_every_token(compared.standardised(), experience.mask)), {}


def token_loss(batch: PolicyBatch, settings: Settings) -> tuple[Tensor, dict[str, Tensor]]:
    """Losses (B, T): that of the response on each of its tokens, 0 outside the mask; and metrics (B, T)."""
    batch = batch.zero_padding()
    log_ratio = sequence_log_ratio(batch.logprobs, batch.old_logprobs, batch.mask, mean=True)
    zero = log_ratio.new_zeros(())
    losses = clipped_surrogate(log_ratio, zero, batch.advantages, settings.clip_low, settings.clip_high)
    metrics = group_metrics(batch.logprobs, batch.old_logprobs, batch.advantages, losses, log_ratio.exp())
    return regularisation.add_terms(losses, metrics, batch, settings)


ABOUT = about.About(
    title="GSPO",
    summary="GRPO with one ratio for a whole response, so that long answers do not drift apart token by token",
    papers=("2507.18071",),
    loss="clipped surrogate of the response's mean log-ratio",
    columns={"baseline": "mean of the group, over its deviation"},
    defaults={
        "clip_low": "2507.18071",
        "clip_high": "2507.18071",
        "epochs": "one pass, as the stage's `minibatches` cut it",
        "kl_in": "2507.18071, whose formulas leave KL out",
    },
)
