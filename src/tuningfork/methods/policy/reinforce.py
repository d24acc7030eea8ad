"""REINFORCE with reward-to-go: Williams 1992; the greedy baseline is ReMax, Li et al. 2023 (2310.10505), alg. 1.

G_t    = sum over s >= t of gamma^(s - t) reward_s
A_t    = G_t - b
loss_t = -A_t logprob_t - c_H H_t + beta k_t (with kl_in: loss)

Summed over a response's tokens, averaged over responses: a mean over tokens would be the gradient of another objective.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from tuningfork.batch import Advantages, Experience, Needs, PolicyBatch
from tuningfork.methods import about, regularisation
from tuningfork.methods.advantage import on_every_token, rewards_to_go
from tuningfork.methods.average import Average
from tuningfork.methods.surrogate import policy_gradient, ratio_metrics
from tuningfork.tensors import masked_mean

if TYPE_CHECKING:
    from torch import Tensor

average: Average = "sequence_sum"


class Settings(regularisation.Settings):
    """Settings of REINFORCE."""

    baseline: Literal["none", "moving_average", "batch", "greedy"] = "moving_average"
    """What returns are compared with (b): nothing; the average of earlier batches; the mean of this batch, which holds
    the response itself and so shrinks the gradient by (n - 1) / n; or the score of the greedy response to the prompt."""
    decay: float = Field(default=0.95, ge=0, lt=1)
    """What one batch leaves of the moving average; only with `baseline: moving_average`."""
    gamma: float = Field(default=1.0, gt=0, le=1)
    """Discount a token; below 1 the score at the end hardly reaches the first tokens."""

    @model_validator(mode="after")
    def _decay_has_effect(self) -> Self:
        if self.baseline != "moving_average" and "decay" in self.model_fields_set:
            raise ValueError("decay has an effect only with baseline: moving_average")
        return self


def needs(settings: Settings) -> Needs:
    """Fresh responses, and what the baseline is made from."""
    return Needs(
        reference=settings.kl_in != "none",
        entropy=settings.entropy_coefficient > 0,
        on_policy=True,
        greedy=settings.baseline == "greedy",
        moving_average=settings.decay if settings.baseline == "moving_average" else None,
    )


def advantages(experience: Experience, settings: Settings) -> tuple[Advantages, dict[str, float]]:
    """Returns of each token less the baseline of its response, (B, T)."""
    mask, is_scored = experience.mask, experience.is_scored
    rewards = regularisation.token_rewards(experience, settings)
    returns = masked_mean(rewards.sum(-1), is_scored)
    if settings.baseline == "none":
        baselines = experience.scores.new_zeros(len(mask))
    elif settings.baseline == "batch":
        baselines = returns.expand(len(mask))
    else:
        assert experience.baselines is not None, f"REINFORCE with the baseline {settings.baseline} needs baselines"
        baselines = experience.baselines
    estimate = rewards_to_go(rewards, mask, settings.gamma) - on_every_token(baselines, mask)
    metrics = {"return_mean": float(returns), "baseline_mean": float(masked_mean(baselines, is_scored))}
    return Advantages(advantages=estimate), metrics


def token_loss(batch: PolicyBatch, settings: Settings) -> tuple[Tensor, dict[str, Tensor]]:
    """Losses (B, T), 0 outside the mask, and metrics (B, T)."""
    batch = batch.zero_padding()
    losses = policy_gradient(batch.logprobs, batch.advantages)
    metrics = ratio_metrics(batch.logprobs, batch.old_logprobs, losses)
    return regularisation.add_terms(losses, metrics, batch, settings)


ABOUT = about.About(
    title="REINFORCE",
    summary="a token becomes likelier by the reward that follows it, less a baseline",
    papers=(
        "Williams 1992",
        "ReMax 2310.10505",
    ),
    loss="`-(G_t - b) logprob_t`",
    columns={"baseline": "none, moving average, batch mean, or greedy response"},
    defaults={
        "baseline": "reinforcement comparison, Williams 1992",
        "decay": "own choice; 0.9 to 0.99 are usual",
        "gamma": "undiscounted, 2310.10505",
    },
)
