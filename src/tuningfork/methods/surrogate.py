"""Pessimistic losses of Schulman et al. 2017 (1707.06347): the larger of two counts, so a step too far never pays."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tuningfork.tensors import masked_sum

if TYPE_CHECKING:
    from torch import Tensor


def policy_gradient(logprobs: Tensor, advantages: Tensor) -> Tensor:
    """-A logprob, (B, T): its gradient is that of the expected return as long as the policy is the one that sampled."""
    return -advantages.detach() * logprobs


def clipped_surrogate(
    logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, clip_range: float, clip_high: float | None = None
) -> Tensor:
    """max(-A ratio, -A clip(ratio, 1 - e, 1 + e)) with ratio = exp(logprobs - old_logprobs): (B, T), eq. 7 times -1.

    The gradient is 0 exactly where A > 0 and ratio > 1 + e, or A < 0 and ratio < 1 - e. Only `logprobs` carries one.
    With `clip_high` that is the e above 1 and `clip_range` the e below (Yu et al. 2025, 2503.14476, eq. 8).
    """
    ratio = (logprobs - old_logprobs.detach()).exp()
    advantages = advantages.detach()
    upper = 1.0 + (clip_range if clip_high is None else clip_high)
    return (-advantages * ratio).maximum(-advantages * ratio.clamp(1.0 - clip_range, upper))


def sequence_log_ratio(logprobs: Tensor, old_logprobs: Tensor, mask: Tensor, *, mean: bool) -> Tensor:
    """log of new over old probability of each response, or with `mean` that over its tokens, on each token: (B, T).

    0 outside the mask. A response's loss that stands on each of its tokens counts once under the average
    `sequence_mean`.
    """
    differences = masked_sum(logprobs - old_logprobs.detach(), mask, -1)
    if mean:
        differences = differences / mask.sum(-1).clamp(min=1)
    return differences.unsqueeze(-1).expand_as(mask).masked_fill(~mask, 0.0)


def ratio_metrics(logprobs: Tensor, old_logprobs: Tensor, losses: Tensor) -> dict[str, Tensor]:
    """Metrics (B, T) of any policy loss: the losses, the ratio, approx_kl.

    approx_kl is k3 of KL(old || new), since the tokens come from the old policy.
    """
    log_ratio = (logprobs - old_logprobs).detach()
    ratio = log_ratio.exp()
    return {
        "policy_loss": losses.detach(),
        "ratio_mean": ratio,
        "ratio_max": ratio,
        "approx_kl": log_ratio.expm1() - log_ratio,
    }


def surrogate_metrics(logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, losses: Tensor) -> dict[str, Tensor]:
    """Metrics (B, T) of a clipped surrogate whose `losses` these are: ratio, approx_kl, clip_fraction.

    clip_fraction counts tokens whose gradient the clip took away.
    """
    metrics = ratio_metrics(logprobs, old_logprobs, losses)
    metrics["clip_fraction"] = (losses > -advantages * metrics["ratio_mean"]).to(losses.dtype)
    return metrics


def group_metrics(
    logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, losses: Tensor, ratio: Tensor
) -> dict[str, Tensor]:
    """Metrics (B, T) of a clipped surrogate of group advantages, whose clipped `ratio` may be that of whole responses.

    clip_fraction_high and clip_fraction_low count tokens whose gradient the clip took away above 1 (a better response
    than the others) and below 1 (a worse one); clip_fraction is their sum.
    """
    is_clipped = losses > -advantages * ratio.detach()
    metrics = ratio_metrics(logprobs, old_logprobs, losses)
    metrics["clip_fraction"] = is_clipped.to(losses.dtype)
    metrics["clip_fraction_high"] = (is_clipped & (advantages > 0)).to(losses.dtype)
    metrics["clip_fraction_low"] = (is_clipped & (advantages < 0)).to(losses.dtype)
    return metrics


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
