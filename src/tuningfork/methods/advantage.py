"""How much better each token was than expected."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def gae(rewards: Tensor, values: Tensor, mask: Tensor, gamma: float, lam: float) -> tuple[Tensor, Tensor]:
    """Advantages and returns (B, T) by generalised advantage estimation, Schulman et al. 2015 (1506.02438), eq. 16.

        delta_t = r_t + gamma V_{t+1} - V_t;   A_t = delta_t + gamma lam A_{t+1};   return_t = A_t + V_t

    V_t is the value before token t is chosen; after the last response token it is 0, also where a response was cut off.
    The mask (B, T) is one run of True in each row. Results are detached and 0 outside it.
    """
    rewards = rewards.detach().masked_fill(~mask, 0.0)
    values = values.detach().masked_fill(~mask, 0.0)
    num_sequences, num_tokens = rewards.shape
    advantages = rewards.new_zeros(num_sequences, num_tokens)
    next_value = following = rewards.new_zeros(num_sequences)
    for t in reversed(range(num_tokens)):
        delta = rewards[:, t] + gamma * next_value - values[:, t]
        following = delta + gamma * lam * following
        advantages[:, t] = following
        next_value = values[:, t]
    return advantages.masked_fill(~mask, 0.0), (advantages + values).masked_fill(~mask, 0.0)
