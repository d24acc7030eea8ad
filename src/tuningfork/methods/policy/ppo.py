"""PPO with a critic: Schulman et al. 2017 (1707.06347), eq. 7, as used by Ziegler et al. 2019 (1909.08593).

reward_t = -beta (logprob_t - ref_logprob_t) + [t last] score             with kl_in: reward
A, R     = GAE(reward, V); A whitened over the batch, R not
ratio_t  = exp(logprob_t - old_logprob_t)
loss_t   = max(-A_t ratio_t, -A_t clip(ratio_t, 1 - e, 1 + e))
         + c_V 1/2 max((V_t - R_t)^2, (clip(V_t, V_old_t - e_V, V_old_t + e_V) - R_t)^2) - c_H H_t
         + beta k_t                                                       with kl_in: loss
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from tuningfork.batch import Advantages, Experience, Needs, PolicyBatch
from tuningfork.methods import about, regularisation
from tuningfork.methods.advantage import critic_metrics, gae
from tuningfork.methods.average import Average
from tuningfork.methods.surrogate import clipped_surrogate, clipped_value_loss, surrogate_metrics
from tuningfork.tensors import whiten

if TYPE_CHECKING:
    from torch import Tensor

average: Average = "token_mean"


class Settings(regularisation.Settings):
    """Settings of PPO; the defaults are those of Ziegler et al. 2019."""

    clip_range: float = Field(default=0.2, gt=0, lt=1)
    """How far the ratio of new to old probability may leave 1 before its gradient stops (e)."""
    value_clip_range: float | None = Field(default=0.2, gt=0)
    """How far a value may move from its old value, in units of the reward (e_V); null does not clip."""
    value_coefficient: float = Field(default=0.1, ge=0)
    """Weight of the critic's loss (c_V)."""
    gamma: float = Field(default=1.0, gt=0, le=1)
    """Discount a token; below 1 the score at the end hardly reaches the first tokens."""
    lam: float = Field(default=0.95, ge=0, le=1)
    """GAE's lambda: 1 trusts sampled returns, 0 trusts the critic."""
    epochs: int = Field(default=4, ge=1)
    """Passes over each batch of responses."""
    whiten_rewards: bool = False
    """Scale rewards to variance 1 over the batch, keeping their mean."""
    whiten_advantages: bool = True
    """Scale advantages to mean 0 and variance 1 over the batch."""
    target_kl: float | None = Field(default=None, gt=0)
    """Ends the epochs of a batch once approx_kl exceeds this; null runs them all."""


def needs(settings: Settings) -> Needs:
    """Values, the reference where KL is charged, and the entropy where it is rewarded."""
    return Needs(values=True, reference=settings.kl_in != "none", entropy=settings.entropy_coefficient > 0)


def advantages(experience: Experience, settings: Settings) -> tuple[Advantages, dict[str, float]]:
    """Advantages and returns (B, T) of a whole batch of responses."""
    mask, values = experience.mask, experience.values
    assert values is not None, "PPO needs values"
    rewards = regularisation.token_rewards(experience, settings)
    if settings.whiten_rewards:
        rewards = whiten(rewards, mask, shift_mean=False)
    raw, returns = gae(rewards, values, mask, settings.gamma, settings.lam)
    used = whiten(raw, mask) if settings.whiten_advantages else raw
    return Advantages(advantages=used, returns=returns), critic_metrics(values, returns, mask)


def token_loss(batch: PolicyBatch, settings: Settings) -> tuple[Tensor, dict[str, Tensor]]:
    """Losses (B, T), 0 outside the mask, and metrics (B, T)."""
    batch = batch.zero_padding()
    values, old_values, returns = batch.values, batch.old_values, batch.returns
    assert values is not None and old_values is not None and returns is not None, "PPO needs values and returns"
    policy_loss = clipped_surrogate(batch.logprobs, batch.old_logprobs, batch.advantages, settings.clip_range)
    value_loss = clipped_value_loss(values, old_values, returns, settings.value_clip_range)
    losses = policy_loss + settings.value_coefficient * value_loss
    metrics = surrogate_metrics(batch.logprobs, batch.old_logprobs, batch.advantages, policy_loss)
    metrics["value_loss"] = value_loss
    metrics["value_clip_fraction"] = (value_loss > 0.5 * (values - returns).square()).to(losses.dtype)
    return regularisation.add_terms(losses, metrics, batch, settings)


ABOUT = about.About(
    title="PPO",
    summary="A2C with several passes over each batch, held back where the policy has moved far enough",
    papers=(
        "1707.06347",
        "1909.08593",
    ),
    loss="`max(-A ratio, -A clip(ratio)) + c_V` clipped value loss",
    columns={"baseline": "critic, GAE"},
    defaults={
        "clip_range": "1707.06347, 1909.08593",
        "value_clip_range": "code of 1909.08593",
        "value_coefficient": "code of 1909.08593; 0.5 is usual in control tasks",
        "gamma": "1909.08593",
        "lam": "1909.08593",
        "epochs": "1909.08593",
        "whiten_rewards": "off as in 2403.17031; on in the code of 1909.08593",
        "whiten_advantages": "code of 1909.08593",
        "target_kl": "no early stop in 1909.08593; 0.015 to 0.03 is usual in control tasks",
    },
    also_needs="PPO-ptx is the stage's `replay`",
)
