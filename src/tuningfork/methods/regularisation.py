"""What holds a policy: the price of KL to the reference, in the reward or in the loss, and the entropy bonus.

reward_t = [t is the last response token] score - beta k1_t                     with kl_in: reward
loss_t   = (the method's loss)_t - c_H H_t + beta k_t, k one of k2 and k3       with kl_in: loss

The two are not the same: only the first also charges a token for where it leads, and beta keeps no meaning between
them, since a reward is scaled with the advantages and a loss is not (`methods.kl` says what each estimator gives).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

import tuningfork.settings
from tuningfork.methods import kl, shaping

if TYPE_CHECKING:
    from torch import Tensor

    from tuningfork.batch import Experience, PolicyBatch


class Settings(tuningfork.settings.Settings):
    """Settings that every policy method has; one with other defaults says so."""

    kl_in: Literal["reward", "loss", "none"] = "reward"
    """Where KL to the reference is charged: in the reward (k1), as a term of the loss, or nowhere."""
    kl_estimator: Literal["k2", "k3"] | None = None
    """The estimator of KL as a term of the loss; null with `kl_in: reward` and `kl_in: none`."""
    entropy_coefficient: float = Field(default=0.0, ge=0)
    """Weight of the entropy bonus (c_H)."""

    @model_validator(mode="after")
    def _estimator_goes_with_loss(self) -> Self:
        if (self.kl_in == "loss") != (self.kl_estimator is not None):
            raise ValueError(
                "kl_in: loss needs a kl_estimator (k2 or k3), and kl_in: reward and kl_in: none take none (null)"
            )
        return self


def token_rewards(experience: Experience, settings: Settings) -> Tensor:
    """Scores on the last response token or as they arise, less beta k1 on every one where KL is in the reward: (B, T)."""
    scores, prefixes, mask = experience.scores, experience.prefix_scores, experience.mask
    if prefixes is None:
        rewards = shaping.terminal_rewards(scores, mask)
    else:
        rewards = shaping.prefix_rewards(scores, prefixes, mask)
    if settings.kl_in != "reward":
        return rewards
    assert experience.ref_logprobs is not None, "KL in the reward needs log-probabilities of a reference"
    return shaping.kl_shaped_rewards(
        rewards, experience.old_logprobs, experience.ref_logprobs, mask, experience.kl_coefficient
    )


def response_rewards(experience: Experience, settings: Settings) -> Tensor:
    """The reward of each response as a whole, its KL over all tokens taken off where KL is in the reward: (B,)."""
    return token_rewards(experience, settings).sum(-1)


def add_terms(
    losses: Tensor, metrics: dict[str, Tensor], batch: PolicyBatch, settings: Settings
) -> tuple[Tensor, dict[str, Tensor]]:
    """Losses (B, T) with entropy bonus and KL, and the metrics, detached, with those of the terms."""
    metrics = dict(metrics)
    if settings.entropy_coefficient > 0:
        assert batch.entropy is not None, "an entropy coefficient needs the entropy"
        losses = losses - settings.entropy_coefficient * batch.entropy
    if batch.entropy is not None:
        metrics["entropy"] = batch.entropy
    if settings.kl_estimator is not None:
        assert batch.ref_logprobs is not None, "KL in the loss needs log-probabilities of a reference"
        losses = losses + batch.kl_coefficient * kl.estimate(settings.kl_estimator, batch.logprobs, batch.ref_logprobs)
        metrics["kl_clamp_fraction"] = kl.is_clamped(batch.logprobs, batch.ref_logprobs)
    return losses, {name: metric.detach() for name, metric in metrics.items()}


DEFAULTS = {
    "kl_in": "1909.08593",
    "kl_estimator": "none where KL is not a term of the loss",
    "entropy_coefficient": "0 in RLHF, 1909.08593; 0.01 in control tasks, 1707.06347",
}
"""Where the defaults of the settings here are from."""
