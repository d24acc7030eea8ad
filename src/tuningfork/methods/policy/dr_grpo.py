"""Dr. GRPO, GRPO without its two biases: Liu et al. 2025 (2503.20783), section 3.2.

A_i    = score_i - mean of the group
loss_t = max(-A_i ratio_t, -A_i clip(ratio_t, 1 - e, 1 + e))

Not divided by the group's deviation, which favours prompts that are nearly always right or wrong, and summed over tokens
in units of the longest response allowed, not of its own length, which favours short right and long wrong answers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from tuningfork.batch import Advantages, Experience, Needs, PolicyBatch
from tuningfork.methods import about, regularisation
from tuningfork.methods.advantage import compare_in_groups, on_every_token
from tuningfork.methods.average import Average
from tuningfork.methods.surrogate import clipped_surrogate, group_metrics

if TYPE_CHECKING:
    from torch import Tensor

average: Average = "constant"


class Settings(regularisation.Settings):
    """Settings of Dr. GRPO."""

    clip_range: float = Field(default=0.2, gt=0, lt=1)
    """How far the ratio of new to old probability may leave 1 before its gradient stops (e)."""
    epochs: int = Field(default=1, ge=1)
    """Passes over each batch of responses."""
    kl_in: Literal["reward", "loss", "none"] = "none"
    """Where KL to the reference is charged: in the reward (k1), as a term of the loss, or nowhere."""


def needs(settings: Settings) -> Needs:
    """Several responses to each prompt."""
    return Needs(reference=settings.kl_in != "none", entropy=settings.entropy_coefficient > 0, groups=True)


def advantages(experience: Experience, settings: Settings) -> tuple[Advantages, dict[str, float]]:
    """Reward of each response less the mean of its group, on each of its tokens: (B, T)."""
    assert experience.groups is not None, "Dr. GRPO needs groups"
    rewards = regularisation.response_rewards(experience, settings)
    compared = compare_in_groups(rewards, experience.groups, experience.is_scored)
    return Advantages(advantages=on_every_token(compared.centred, experience.mask)), {}


def token_loss(batch: PolicyBatch, settings: Settings) -> tuple[Tensor, dict[str, Tensor]]:
    """Losses (B, T), 0 outside the mask, and metrics (B, T)."""
    batch = batch.zero_padding()
    logprobs, old_logprobs = batch.logprobs, batch.old_logprobs
    losses = clipped_surrogate(logprobs, old_logprobs, batch.advantages, settings.clip_range)
    metrics = group_metrics(logprobs, old_logprobs, batch.advantages, losses, (logprobs - old_logprobs).exp())
    return regularisation.add_terms(losses, metrics, batch, settings)


ABOUT = about.About(
    title="Dr. GRPO",
    summary="GRPO without its bias for easy and hard prompts and for long wrong answers",
    papers=("2503.20783",),
    loss="clipped surrogate a token",
    columns={"baseline": "mean of the group"},
    defaults={
        "clip_range": "1707.06347; as GRPO",
        "epochs": "as GRPO",
        "kl_in": "2503.20783",
    },
)
