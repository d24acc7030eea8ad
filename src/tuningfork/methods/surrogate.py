"""Pessimistic losses of Schulman et al. 2017 (1707.06347): the larger of two counts, so a step too far never pays."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def clipped_surrogate(logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, clip_range: float) -> Tensor:
    """max(-A ratio, -A clip(ratio, 1 - e, 1 + e)) with ratio = exp(logprobs - old_logprobs): (B, T), eq. 7 times -1.

    The gradient is 0 exactly where A > 0 and ratio > 1 + e, or A < 0 and ratio < 1 - e. Only `logprobs` carries one.
    """
    ratio = (logprobs - old_logprobs.detach()).exp()
    advantages = advantages.detach()
    return (-advantages * ratio).maximum(-advantages * ratio.clamp(1.0 - clip_range, 1.0 + clip_range))


def surrogate_metrics(logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, losses: Tensor) -> dict[str, Tensor]:
    """Metrics (B, T) of a clipped surrogate whose `losses` these are: ratio, approx_kl, clip_fraction.

    approx_kl is k3 of KL(old || new), since the tokens come from the old policy; clip_fraction counts tokens whose
    gradient the clip took away.
    """
    log_ratio = (logprobs - old_logprobs).detach()
    ratio = log_ratio.exp()
    return {
        "policy_loss": losses.detach(),
        "ratio_mean": ratio,
        "ratio_max": ratio,
        "approx_kl": log_ratio.expm1() - log_ratio,
        "clip_fraction": (losses > -advantages * ratio).to(ratio.dtype),
    }


def clipped_value_loss(values: Tensor, old_values: Tensor, returns: Tensor, clip_range: float | None) -> Tensor:
    """1/2 max((V - R)^2, (clip(V, V_old - e, V_old + e) - R)^2): (B, T); without a clip range 1/2 (V - R)^2.

    The clip range is in units of the value: with returns of order 10 a range of 0.2 all but freezes the critic.
    """
    returns = returns.detach()
    squared_error = (values - returns).square()
    if clip_range is None:
        return 0.5 * squared_error
    old_values = old_values.detach()
    clipped = old_values + (values - old_values).clamp(-clip_range, clip_range)
    return 0.5 * squared_error.maximum((clipped - returns).square())
