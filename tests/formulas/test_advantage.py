"""Generalised advantage estimation against the double sum of the paper, its limits, and garbage in the padding."""

import math

import pytest
import torch
from checks import Rows, close, close_rows, mask_of, padded, ragged, unpadded

from tuningfork.methods.advantage import gae

LENGTHS = [5, 1, 8, 3]


def scalar_gae(rewards: Rows, values: Rows, gamma: float, lam: float) -> Rows:
    """A_t = sum over l of (gamma lam)^l delta_{t+l}, eq. 11 to 16 of 1506.02438, not the recursion."""
    result = []
    for row, value in zip(rewards, values, strict=True):
        after = [*value[1:], 0.0]
        deltas = [r + gamma * n - v for r, n, v in zip(row, after, value, strict=True)]
        result.append([sum((gamma * lam) ** k * d for k, d in enumerate(deltas[t:])) for t in range(len(row))])
    return result


def test_worked_example() -> None:
    # gamma 0.5, lambda 0.5; deltas: 0 + 0.5*2 - 1 = 0; 4 - 2 = 2.  A_1 = 2, A_0 = 0 + 0.25*2 = 0.5; returns 1.5, 4
    advantages, returns = gae(padded([[0.0, 4.0]]), padded([[1.0, 2.0]]), mask_of([2]), 0.5, 0.5)
    close(advantages, [[0.5, 2.0]])
    close(returns, [[1.5, 4.0]])


@pytest.mark.parametrize(("gamma", "lam"), [(1.0, 0.95), (0.9, 0.7), (0.99, 0.0), (0.8, 1.0)])
@pytest.mark.parametrize("fill", [0.0, 1e6, math.nan])
@pytest.mark.parametrize("left", [0, 2])
def test_matches_the_double_sum_whatever_stands_in_the_padding(
    gamma: float, lam: float, fill: float, left: int
) -> None:
    rewards, values, mask = ragged(1, LENGTHS), ragged(2, LENGTHS), mask_of(LENGTHS, 11, left)
    advantages, returns = gae(padded(rewards, fill, 11, left), padded(values, fill, 11, left), mask, gamma, lam)
    expected = scalar_gae(rewards, values, gamma, lam)
    close_rows(unpadded(advantages, mask), expected)
    sums = [[a + v for a, v in zip(row, value, strict=True)] for row, value in zip(expected, values, strict=True)]
    close_rows(unpadded(returns, mask), sums)


def test_lambda_one_is_future_reward_less_value() -> None:
    rewards, values, mask = ragged(3, LENGTHS), ragged(4, LENGTHS), mask_of(LENGTHS)
    advantages, returns = gae(padded(rewards), padded(values), mask, 1.0, 1.0)
    future = [[sum(row[t:]) for t in range(len(row))] for row in rewards]
    close_rows(unpadded(returns, mask), future)
    less = [[f - v for f, v in zip(row, value, strict=True)] for row, value in zip(future, values, strict=True)]
    close_rows(unpadded(advantages, mask), less)


def test_lambda_zero_is_the_one_step_error() -> None:
    rewards, values, mask = ragged(5, LENGTHS), ragged(6, LENGTHS), mask_of(LENGTHS)
    advantages, _ = gae(padded(rewards), padded(values), mask, 0.9, 0.0)
    errors = [
        [r + 0.9 * n - v for r, n, v in zip(row, [*value[1:], 0.0], value, strict=True)]
        for row, value in zip(rewards, values, strict=True)
    ]
    close_rows(unpadded(advantages, mask), errors)


def test_a_perfect_critic_leaves_no_advantage() -> None:
    rewards, mask = ragged(7, LENGTHS), mask_of(LENGTHS)
    future = [[sum(row[t:]) for t in range(len(row))] for row in rewards]
    advantages, returns = gae(padded(rewards), padded(future), mask, 1.0, 0.95)
    close(advantages, torch.zeros_like(advantages))
    close_rows(unpadded(returns, mask), future)


def test_discount_reaches_the_first_of_100_tokens_as_0_37() -> None:
    rewards = torch.zeros(1, 100, dtype=torch.float64)
    rewards[0, -1] = 1.0
    advantages, _ = gae(rewards, torch.zeros_like(rewards), mask_of([100]), 0.99, 1.0)
    close(advantages[0, 0], 0.99**99, 1e-12)


def test_rows_do_not_depend_on_each_other() -> None:
    rewards, values, mask = padded(ragged(8, LENGTHS)), padded(ragged(9, LENGTHS)), mask_of(LENGTHS)
    together = gae(rewards, values, mask, 1.0, 0.95)[0]
    for i in range(4):
        close(gae(rewards[i : i + 1], values[i : i + 1], mask[i : i + 1], 1.0, 0.95)[0], together[i : i + 1], 1e-12)


def test_results_carry_no_gradient() -> None:
    rewards, values = torch.ones(1, 2, requires_grad=True), torch.zeros(1, 2, requires_grad=True)
    advantages, returns = gae(rewards, values, mask_of([2]), 1.0, 0.95)
    assert not advantages.requires_grad and not returns.requires_grad


def test_inputs_are_left_alone() -> None:
    rewards, values = padded([[1.0]], 9.0, 2), padded([[2.0]], 9.0, 2)
    gae(rewards, values, mask_of([1], 2), 1.0, 0.95)
    close(rewards, [[1.0, 9.0]])
    close(values, [[2.0, 9.0]])
