"""PPO with a critic: Schulman et al. 2017 (1707.06347), eq. 7, as used by Ziegler et al. 2019 (1909.08593).

reward_t = -beta (logprob_t - ref_logprob_t) + [t last] score             with kl_in: reward
A, R     = GAE(reward, V); A whitened over the batch, R not
ratio_t  = exp(logprob_t - old_logprob_t)
loss_t   = max(-A_t ratio_t, -A_t clip(ratio_t, 1 - e, 1 + e))
         + c_V 1/2 max((V_t - R_t)^2, (clip(V_t, V_old_t - e_V, V_old_t + e_V) - R_t)^2) - c_H H_t
         + beta k_t                                                       with kl_in: loss
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

import tuningfork.settings
from tuningfork.batch import Advantages, Experience, Needs, PolicyBatch
from tuningfork.methods import kl, shaping
from tuningfork.methods.advantage import gae
from tuningfork.methods.average import Average
from tuningfork.methods.surrogate import clipped_surrogate, clipped_value_loss, surrogate_metrics
from tuningfork.tensors import explained_variance, masked_mean, whiten

if TYPE_CHECKING:
    from torch import Tensor

average: Average = "token_mean"


class Settings(tuningfork.settings.Settings):
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
    entropy_coefficient: float = Field(default=0.0, ge=0)
    """Weight of the entropy bonus (c_H)."""
    kl_in: Literal["reward", "loss"] = "reward"
    """Where KL to the reference is charged: in the reward (k1), or as a term of the loss."""
    kl_estimator: Literal["k2", "k3"] | None = None
    """The estimator of KL as a term of the loss; null with `kl_in: reward`."""
    target_kl: float | None = Field(default=None, gt=0)
    """Ends the epochs of a batch once approx_kl exceeds this; null runs them all."""

    @model_validator(mode="after")
    def _estimator_goes_with_loss(self) -> Self:
        if (self.kl_in == "loss") != (self.kl_estimator is not None):
            raise ValueError("kl_in: loss needs a kl_estimator (k2 or k3), and kl_in: reward takes none")
        return self


def needs(settings: Settings) -> Needs:
    """Values and the reference; the entropy only where it is rewarded."""
    return Needs(values=True, reference=True, entropy=settings.entropy_coefficient > 0)


def advantages(experience: Experience, settings: Settings) -> tuple[Advantages, dict[str, float]]:
    """Advantages and returns (B, T) of a whole batch of responses."""
    scores, mask, values = experience.scores, experience.mask, experience.values
    assert values is not None and experience.ref_logprobs is not None, "PPO needs values and a reference"
    beta = experience.kl_coefficient if settings.kl_in == "reward" else 0.0
    rewards = shaping.kl_shaped_rewards(scores, experience.old_logprobs, experience.ref_logprobs, mask, beta)
    if settings.whiten_rewards:
        rewards = whiten(rewards, mask, shift_mean=False)
    raw, returns = gae(rewards, values, mask, settings.gamma, settings.lam)
    metrics = {
        "explained_variance": explained_variance(values, returns, mask),
        "value_mean": masked_mean(values, mask),
        "return_mean": masked_mean(returns, mask),
    }
    used = whiten(raw, mask) if settings.whiten_advantages else raw
    return Advantages(advantages=used, returns=returns), {name: float(value) for name, value in metrics.items()}


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
    if settings.entropy_coefficient > 0:
        assert batch.entropy is not None, "PPO with an entropy coefficient needs the entropy"
        losses = losses - settings.entropy_coefficient * batch.entropy
    if batch.entropy is not None:
        metrics["entropy"] = batch.entropy
    if settings.kl_estimator is not None:
        assert batch.ref_logprobs is not None, "PPO with KL in the loss needs reference log-probabilities"
        losses = losses + batch.kl_coefficient * kl.estimate(settings.kl_estimator, batch.logprobs, batch.ref_logprobs)
        metrics["kl_clamp_fraction"] = kl.is_clamped(batch.logprobs, batch.ref_logprobs)
    return losses, {name: metric.detach() for name, metric in metrics.items()}
