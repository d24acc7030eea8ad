"""CISPO, every token keeps its gradient: MiniMax-M1, 2025 (2506.13585), eq. 4 and 5.

A_i    = (score_i - mean of the group) / (deviation of the group + 1e-4)
w_t    = min(ratio_t, w_max), detached
loss_t = -w_t A_i logprob_t

The paper bounds the weight by 1 + e_high and does not say at what; trl bounds it by its epsilon_high itself and suggests
5, which is the w_max here. There is no lower bound, as in the paper. Averaged over all tokens of the optimizer step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from tuningfork.batch import Advantages, Experience, Needs, PolicyBatch
from tuningfork.methods import about, regularisation
from tuningfork.methods.advantage import compare_in_groups, on_every_token
from tuningfork.methods.average import Average
from tuningfork.methods.surrogate import policy_gradient, ratio_metrics

if TYPE_CHECKING:
    from torch import Tensor

average: Average = "token_mean"


class Settings(regularisation.Settings):
    """Settings of CISPO."""

    max_weight: float = Field(default=5.0, ge=1)
    """Largest weight of a token, whatever its ratio (w_max)."""
    epochs: int = Field(default=1, ge=1)
    """Passes over each batch of responses."""
    kl_in: Literal["reward", "loss", "none"] = "none"
    """Where KL to the reference is charged: in the reward (k1), as a term of the loss, or nowhere."""


def needs(settings: Settings) -> Needs:
    """Several responses to each prompt."""
    return Needs(reference=settings.kl_in != "none", entropy=settings.entropy_coefficient > 0, groups=True)


def advantages(experience: Experience, settings: Settings) -> tuple[Advantages, dict[str, float]]:
    """Standardised reward of each response within its group, on each of its tokens: (B, T)."""
    assert experience.groups is not None, "CISPO needs groups"
    rewards = regularisation.response_rewards(experience, settings)
    compared = compare_in_groups(rewards, experience.groups, experience.is_scored)
    return Advantages(advantages=on_every_token(compared.standardised(), experience.mask)), {}


def token_loss(batch: PolicyBatch, settings: Settings) -> tuple[Tensor, dict[str, Tensor]]:
    """Losses (B, T), 0 outside the mask, and metrics (B, T); clip_fraction counts bounded weights."""
    batch = batch.zero_padding()
    ratio = (batch.logprobs - batch.old_logprobs).detach().exp()
    losses = policy_gradient(batch.logprobs, ratio.clamp(max=settings.max_weight) * batch.advantages)
    metrics = ratio_metrics(batch.logprobs, batch.old_logprobs, losses)
    metrics["clip_fraction"] = (ratio > settings.max_weight).to(losses.dtype)
    return regularisation.add_terms(losses, metrics, batch, settings)


ABOUT = about.About(
    title="CISPO",
    summary="every token keeps its gradient; only its weight is bounded",
    papers=("2506.13585",),
    loss="`-min(ratio, w_max) A logprob_t`, the weight detached",
    columns={"baseline": "mean of the group, over its deviation"},
    defaults={
        "max_weight": "trl's suggestion; 2506.13585 names none",
        "epochs": "one pass, as the stage's `minibatches` cut it",
        "kl_in": "2506.13585",
    },
)
