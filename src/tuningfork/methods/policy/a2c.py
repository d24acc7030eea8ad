"""A2C, advantage actor-critic: Mnih et al. 2016 (1602.01783) made synchronous; PPO's special case (2205.09123).

reward_t = -beta (logprob_t - ref_logprob_t) + [t last] score             with kl_in: reward
A, R     = GAE(reward, V), V_t read from the last hidden state before token t
loss_t   = -A_t logprob_t + c_V 1/2 (V_t - R_t)^2 - c_H H_t + beta k_t    the last with kl_in: loss
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from tuningfork.batch import Advantages, Experience, Needs, PolicyBatch
from tuningfork.methods import about, regularisation
from tuningfork.methods.advantage import critic_metrics, gae
from tuningfork.methods.average import Average
from tuningfork.methods.surrogate import clipped_value_loss, policy_gradient, ratio_metrics
from tuningfork.tensors import whiten

if TYPE_CHECKING:
    from torch import Tensor

average: Average = "token_mean"


class Settings(regularisation.Settings):
    """Settings of A2C."""

    value_coefficient: float = Field(default=0.5, ge=0)
    """Weight of the critic's loss (c_V)."""
    gamma: float = Field(default=1.0, gt=0, le=1)
    """Discount a token; below 1 the score at the end hardly reaches the first tokens."""
    lam: float = Field(default=0.95, ge=0, le=1)
    """GAE's lambda: 1 trusts sampled returns, 0 trusts the critic."""
    whiten_advantages: bool = False
    """Scale advantages to mean 0 and variance 1 over the batch."""


def needs(settings: Settings) -> Needs:
    """Values and fresh responses."""
    return Needs(
        values=True,
        reference=settings.kl_in != "none",
        entropy=settings.entropy_coefficient > 0,
        on_policy=True,
    )


def advantages(experience: Experience, settings: Settings) -> tuple[Advantages, dict[str, float]]:
    """Advantages and returns (B, T) of a whole batch of responses."""
    mask, values = experience.mask, experience.values
    assert values is not None, "A2C needs values"
    raw, returns = gae(regularisation.token_rewards(experience, settings), values, mask, settings.gamma, settings.lam)
    used = whiten(raw, mask) if settings.whiten_advantages else raw
    return Advantages(advantages=used, returns=returns), critic_metrics(values, returns, mask)


def token_loss(batch: PolicyBatch, settings: Settings) -> tuple[Tensor, dict[str, Tensor]]:
    """Losses (B, T), 0 outside the mask, and metrics (B, T)."""
    batch = batch.zero_padding()
    assert batch.values is not None and batch.returns is not None, "A2C needs values and returns"
    policy_loss = policy_gradient(batch.logprobs, batch.advantages)
    value_loss = clipped_value_loss(batch.values, batch.values, batch.returns, None)
    metrics = ratio_metrics(batch.logprobs, batch.old_logprobs, policy_loss) | {"value_loss": value_loss}
    losses = policy_loss + settings.value_coefficient * value_loss
    return regularisation.add_terms(losses, metrics, batch, settings)


ABOUT = about.About(
    title="A2C",
    summary="advantage actor-critic: tokens by how much better they turned out than the critic expected",
    papers=(
        "1602.01783",
        "2205.09123",
    ),
    loss="`-A_t logprob_t + c_V (V_t - R_t)^2 / 2`",
    columns={"baseline": "critic, GAE"},
    defaults={
        "value_coefficient": "usual in control tasks, 2205.09123",
        "gamma": "undiscounted, 1909.08593; 0.99 in 1602.01783",
        "lam": "1909.08593",
        "whiten_advantages": "off, so that it is PPO's special case, 2205.09123",
    },
)
