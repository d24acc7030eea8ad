"""DAPO: Yu et al. 2025 (2503.14476), eq. 8 to 13; GRPO with a wider upper clip and without its dead groups.

score_i += 0 up to Lmax - Lc tokens, then a line down to -1 at Lmax             soft overlong punishment
A_i     = (score_i - mean of the group) / (deviation of the group + 1e-4)
loss_t  = max(-A_i ratio_t, -A_i clip(ratio_t, 1 - e_low, 1 + e_high))

Averaged over all tokens of the optimizer step; no KL. Dynamic sampling: prompts whose responses all have one score are
dropped and others sampled in their place, for `resampling` rounds (the paper: until the batch is full).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from tuningfork.batch import Advantages, Experience, Needs, PolicyBatch
from tuningfork.methods import about, regularisation, shaping
from tuningfork.methods.advantage import compare_in_groups, on_every_token
from tuningfork.methods.average import Average
from tuningfork.methods.surrogate import clipped_surrogate, group_metrics
from tuningfork.tensors import masked_mean

if TYPE_CHECKING:
    from torch import Tensor

average: Average = "token_mean"


class Settings(regularisation.Settings):
    """Settings of DAPO; the defaults are the paper's."""

    clip_low: float = Field(default=0.2, gt=0, lt=1)
    """How far the ratio may fall below 1 before its gradient stops (e_low)."""
    clip_high: float = Field(default=0.28, gt=0)
    """How far the ratio may rise above 1 before its gradient stops (e_high); wider, so that rare tokens can grow."""
    epochs: int = Field(default=1, ge=1)
    """Passes over each batch of responses."""
    overlong_share: float | None = Field(default=0.2, gt=0, le=1)
    """Lc / Lmax: the last part of the longest response allowed, in which length costs up to 1; null charges nothing."""
    resampling: int = Field(default=3, ge=0)
    """Rounds of sampling other prompts in place of those whose responses all have one score; 0 only drops those."""
    kl_in: Literal["reward", "loss", "none"] = "none"
    """Where KL to the reference is charged: in the reward (k1), as a term of the loss, or nowhere."""


def needs(settings: Settings) -> Needs:
    """Several responses to each prompt, of different scores."""
    return Needs(
        reference=settings.kl_in != "none",
        entropy=settings.entropy_coefficient > 0,
        groups=True,
        resampling=settings.resampling,
    )


def advantages(experience: Experience, settings: Settings) -> tuple[Advantages, dict[str, float]]:
    """Standardised reward of each response within its group, on each of its tokens: (B, T)."""
    assert experience.groups is not None and experience.max_length is not None, "DAPO needs groups and max_length"
    rewards, mask = regularisation.response_rewards(experience, settings), experience.mask
    metrics = {}
    if settings.overlong_share is not None:
        buffer = settings.overlong_share * experience.max_length
        penalties = shaping.overlong_penalty(mask.sum(-1).to(rewards.dtype), experience.max_length, buffer)
        rewards = rewards + penalties
        metrics["overlong_penalty"] = float(masked_mean(penalties, experience.is_scored))
    compared = compare_in_groups(rewards, experience.groups, experience.is_scored)
    return Advantages(advantages=on_every_token(compared.standardised(), mask)), metrics


def token_loss(batch: PolicyBatch, settings: Settings) -> tuple[Tensor, dict[str, Tensor]]:
    """Losses (B, T), 0 outside the mask, and metrics (B, T)."""
    batch = batch.zero_padding()
    logprobs, old_logprobs = batch.logprobs, batch.old_logprobs
    losses = clipped_surrogate(logprobs, old_logprobs, batch.advantages, settings.clip_low, settings.clip_high)
    metrics = group_metrics(logprobs, old_logprobs, batch.advantages, losses, (logprobs - old_logprobs).exp())
    return regularisation.add_terms(losses, metrics, batch, settings)


ABOUT = about.About(
    title="DAPO",
    summary="GRPO with a wider upper clip, without prompts of one score, and a price for overlong answers",
    papers=("2503.14476",),
    loss="clipped surrogate a token, wider above 1 than below",
    columns={"baseline": "mean of the group, over its deviation"},
    defaults={
        "clip_low": "2503.14476",
        "clip_high": "2503.14476",
        "epochs": "one pass, as the stage's `minibatches` cut it",
        "overlong_share": "2503.14476, 4,096 of 20,480 tokens",
        "resampling": "own choice; in 2503.14476 until the batch is full",
        "kl_in": "2503.14476",
    },
    also_needs="groups of one score are dropped and others sampled",
)
