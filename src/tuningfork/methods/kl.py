"""Kullback-Leibler divergence between policy and reference: estimators by token, and coefficients that follow it.

With samples from the policy and d = logprob - ref_logprob of each token (Schulman, "Approximating KL divergence"):
    k1 = d               unbiased, may be negative; belongs in the reward
    k2 = d^2 / 2         its gradient as a loss is that of KL(policy || reference)
    k3 = exp(-d) - 1 + d unbiased and never negative; its gradient as a loss is that of KL(reference || policy)
k1 is no loss: its gradient has expectation 0.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

import tuningfork.settings
from tuningfork.errors import RecipeError

if TYPE_CHECKING:
    from torch import Tensor

Estimator = Literal["k1", "k2", "k3"]

LOG_RATIO_LIMIT = 20.0
"""exp(-d) explodes when the policy has almost dropped a token: k2 and k3 see d within +-20 nats."""

MAX_STEP = 0.2
"""Largest relative error the controller reacts to (Ziegler et al. 2019)."""


def k1(logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
    """d = logprobs - ref_logprobs, the log-ratio itself. Any shape."""
    return logprobs - ref_logprobs


def k2(logprobs: Tensor, ref_logprobs: Tensor, limit: float = LOG_RATIO_LIMIT) -> Tensor:
    """d^2 / 2 with d clamped to +-limit. Any shape."""
    return 0.5 * (logprobs - ref_logprobs).clamp(-limit, limit).square()


def k3(logprobs: Tensor, ref_logprobs: Tensor, limit: float = LOG_RATIO_LIMIT) -> Tensor:
    """exp(-d) - 1 + d with d clamped to +-limit. Any shape.

    exp(-d) is reference over policy, as sampling from the policy requires; exp(d) - 1 - d estimates something else.
    """
    difference = (logprobs - ref_logprobs).clamp(-limit, limit)
    return (-difference).expm1() + difference


def estimate(kind: Estimator, logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
    """The estimator of that name."""
    return {"k1": k1, "k2": k2, "k3": k3}[kind](logprobs, ref_logprobs)


def is_clamped(logprobs: Tensor, ref_logprobs: Tensor, limit: float = LOG_RATIO_LIMIT) -> Tensor:
    """1.0 where k2 and k3 clamp the log-ratio, 0.0 elsewhere; its masked mean is the clamp rate."""
    return ((logprobs - ref_logprobs).abs() > limit).to(logprobs.dtype)


class Settings(tuningfork.settings.Settings):
    """How strongly the policy is held to the reference."""

    coefficient: float = Field(default=0.05, ge=0)
    """Reward taken per nat of KL (beta), at the start when there is a target."""

    target: float | None = Field(default=None, gt=0)
    """KL in nats a sequence that the coefficient is steered to; null keeps the coefficient fixed."""

    horizon: Literal["auto"] | Annotated[int, Field(gt=0)] = "auto"
    """Episodes over which the steering acts; `auto` takes a fifth of those planned for the run. Only with a target."""

    @model_validator(mode="after")
    def _horizon_has_effect(self) -> Self:
        if self.horizon != "auto" and self.target is None:
            raise ValueError("horizon has no effect without target")
        if self.target is not None and self.coefficient == 0:
            raise ValueError("coefficient 0 stays 0 whatever the target: give a coefficient above 0")
        return self


def controller(settings: Settings, planned_episodes: int, batch_episodes: int) -> FixedKL | AdaptiveKL:
    """The controller these settings describe, for a run of `planned_episodes` in batches of `batch_episodes`."""
    if settings.target is None:
        return FixedKL(settings.coefficient)
    horizon = max(batch_episodes, planned_episodes // 5) if settings.horizon == "auto" else settings.horizon
    if horizon < batch_episodes:
        raise RecipeError(
            f"a KL horizon of {horizon} episodes is too short for batches of {batch_episodes}: one batch could change "
            f"the coefficient by {MAX_STEP * batch_episodes / horizon:.0%}. Set horizon to {batch_episodes} or more."
        )
    return AdaptiveKL(settings.coefficient, settings.target, horizon)


@dataclass(frozen=True)
class FixedKL:
    """A coefficient that stays what it is."""

    coefficient: float

    def update(self, kl: float, num_episodes: int) -> FixedKL:
        """The controller after a batch: the same."""
        return self

    def max_drift(self, total_episodes: int, batch_episodes: int) -> tuple[float, float]:
        """Smallest and largest factor the coefficient can have changed by: 1 and 1."""
        return 1.0, 1.0

    def state(self) -> dict[str, float]:
        """What a checkpoint keeps."""
        return {"coefficient": self.coefficient}

    def restored(self, state: dict[str, float]) -> FixedKL:
        """The controller as it was when `state` was taken."""
        return replace(self, coefficient=state["coefficient"])


@dataclass(frozen=True)
class AdaptiveKL:
    """A coefficient steered to a target KL per sequence: Ziegler et al. 2019 (1909.08593), section 2.2.

    error = clip(kl / target - 1, -0.2, 0.2); coefficient <- coefficient * (1 + error * num_episodes / horizon).
    Order in one iteration: shape rewards with the current coefficient, update the policy, then update the coefficient.
    """

    coefficient: float
    target: float = 6.0
    horizon: int = 10_000

    def update(self, kl: float, num_episodes: int) -> AdaptiveKL:
        """The controller after a batch of `num_episodes` whose mean KL per SEQUENCE (sum over its tokens) was `kl`."""
        error = min(max(kl / self.target - 1.0, -MAX_STEP), MAX_STEP)
        return replace(self, coefficient=self.coefficient * (1.0 + error * num_episodes / self.horizon))

    def max_drift(self, total_episodes: int, batch_episodes: int) -> tuple[float, float]:
        """Smallest and largest factor the coefficient can have changed by after `total_episodes`."""
        step = MAX_STEP * batch_episodes / self.horizon
        num_steps = total_episodes / batch_episodes
        return (1.0 - step) ** num_steps, (1.0 + step) ** num_steps

    def state(self) -> dict[str, float]:
        """What a checkpoint keeps."""
        return {"coefficient": self.coefficient}

    def restored(self, state: dict[str, float]) -> AdaptiveKL:
        """The controller as it was when `state` was taken."""
        return replace(self, coefficient=state["coefficient"])
