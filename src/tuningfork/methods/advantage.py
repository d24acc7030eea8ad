"""How much better each token was than expected: by a critic, or by the other responses to the same prompt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tuningfork.tensors import explained_variance, masked_mean

if TYPE_CHECKING:
    from torch import Tensor

GROUP_EPSILON = 1e-4
"""Added to the deviation of a group's scores (trl adds it to the deviation, not to the variance)."""


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


def critic_metrics(values: Tensor, returns: Tensor, mask: Tensor) -> dict[str, float]:
    """How well values (B, T) foresaw returns (B, T), and the means of both over the mask."""
    return {
        "explained_variance": float(explained_variance(values, returns, mask)),
        "value_mean": float(masked_mean(values, mask)),
        "return_mean": float(masked_mean(returns, mask)),
    }


def rewards_to_go(rewards: Tensor, mask: Tensor, gamma: float = 1.0) -> Tensor:
    """Discounted sum of this and all later rewards of the row, (B, T), detached, 0 outside the mask."""
    _, returns = gae(rewards, rewards.new_zeros(rewards.shape), mask, gamma, 1.0)
    return returns


def on_every_token(values: Tensor, mask: Tensor) -> Tensor:
    """Values (B,) of responses on each of their tokens: (B, T), detached, 0 outside the mask."""
    return values.detach().unsqueeze(-1).expand_as(mask).masked_fill(~mask, 0.0)


@dataclass(frozen=True)
class Groups:
    """Scores beside those of the other responses to the same prompt. All (B,), one entry for each response.

    centred: score less the mean of its group, exactly 0 where all are equal and for what is not counted; deviations:
    of the group; counts: responses of the group that count; is_flat: all scores of the group are equal.
    """

    centred: Tensor
    deviations: Tensor
    counts: Tensor
    is_flat: Tensor

    def leave_one_out(self) -> Tensor:
        """Score less the mean of the OTHERS of its group, n / (n - 1) times centred; 0 for a response alone."""
        return self.centred * self.counts / (self.counts - 1).clamp(min=1)

    def standardised(self) -> Tensor:
        """Centred over deviation + GROUP_EPSILON."""
        return self.centred / (self.deviations + GROUP_EPSILON)


def compare_in_groups(scores: Tensor, groups: Tensor, is_counted: Tensor, *, unbiased: bool = True) -> Groups:
    """Scores (B,) within groups (B,), equal numbers for one prompt, in any order; only what `is_counted` (B,) counts.

    `unbiased` divides squares by n - 1 (trl); two different scores then always stand 0.71 deviations from their mean.
    """
    names, group = groups.unique(return_inverse=True)
    scores = scores.detach().masked_fill(~is_counted, 0.0)
    none = scores.new_zeros(len(names))
    counts = none.index_add(0, group, is_counted.to(scores.dtype))[group]
    means = none.index_add(0, group, scores)[group] / counts
    infinite = scores.new_full((len(names),), float("inf"))
    lowest = infinite.scatter_reduce(0, group, scores.masked_fill(~is_counted, float("inf")), "amin")[group]
    highest = (-infinite).scatter_reduce(0, group, scores.masked_fill(~is_counted, -float("inf")), "amax")[group]
    is_flat = highest <= lowest
    centred = (scores - means).masked_fill(is_flat | ~is_counted, 0.0)
    squares = none.index_add(0, group, centred.square())[group]
    divisors = counts - 1 if unbiased else counts
    return Groups(centred, (squares / divisors.clamp(min=1)).sqrt(), counts, is_flat)


def flat_share(groups: Groups, numbers: Tensor) -> float:
    """Share of groups, by their `numbers` (B,), in which all scores are equal, so that nothing can be learnt."""
    return len(numbers[groups.is_flat].unique()) / len(numbers.unique())


def best_and_worst(scores: Tensor, groups: Tensor, is_counted: Tensor) -> tuple[Tensor, Tensor]:
    """Rows of the best and of the worst response of each group whose scores differ, (P,) and (P,), in order of groups.

    The first of equal ones is taken. Only what `is_counted` (B,) counts.
    """
    compared = compare_in_groups(scores, groups, is_counted)
    usable = is_counted & ~compared.is_flat
    rows = usable.nonzero().flatten()
    names, group = groups[rows].unique(return_inverse=True)
    by_score = scores[rows].argsort(stable=True)
    by_score_down = scores[rows].argsort(stable=True, descending=True)
    first = [rows[order][group[order].argsort(stable=True)] for order in (by_score_down, by_score)]
    starts = group.bincount(minlength=len(names)).cumsum(0).roll(1)
    starts[:1] = 0
    best, worst = (found[starts] for found in first)
    return best, worst
