"""Generalised advantage estimation against the double sum of the paper, its limits, and garbage in the padding."""

import math

import pytest
import torch
from checks import Rows, close, close_rows, mask_of, padded, ragged, unpadded

from tuningfork.methods.advantage import (
    GROUP_EPSILON,
    Groups,
    best_and_worst,
    compare_in_groups,
    critic_metrics,
    flat_share,
    gae,
    on_every_token,
    rewards_to_go,
)

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


NUMBERS = [9, 4, 9, 4, 2, 9, 4]
SCORES = [1.0, 5.0, 2.0, 5.0, 3.0, 6.0, 7.0]
COUNTED = [True, True, True, True, True, True, False]


def groups_of(scores: list[float], counted: list[bool] | None = None, *, unbiased: bool = True) -> Groups:
    return compare_in_groups(
        torch.tensor(scores, dtype=torch.float64),
        torch.tensor(NUMBERS),
        torch.tensor(COUNTED if counted is None else counted),
        unbiased=unbiased,
    )


def test_groups_worked_example() -> None:
    # group 9: 1, 2, 6: mean 3, squares 14.  group 4: 5, 5 (7 does not count): flat.  group 2: 3 alone
    groups = groups_of(SCORES)
    close(groups.centred, [-2.0, 0.0, -1.0, 0.0, 0.0, 3.0, 0.0])
    close(groups.counts, [3.0, 2.0, 3.0, 2.0, 1.0, 3.0, 2.0])
    seven = 7**0.5
    close(groups.deviations, [seven, 0.0, seven, 0.0, 0.0, seven, 0.0])
    assert groups.is_flat.tolist() == [False, True, False, True, True, False, True]
    close(groups_of(SCORES, unbiased=False).deviations[0], (14 / 3) ** 0.5)
    close(groups.leave_one_out(), [-3.0, 0.0, -1.5, 0.0, 0.0, 4.5, 0.0])
    close(groups.standardised()[[0, 2, 5]], [x / (seven + 1e-4) for x in (-2.0, -1.0, 3.0)])
    assert GROUP_EPSILON == 1e-4
    assert flat_share(groups, torch.tensor(NUMBERS)) == 2 / 3


def test_what_is_not_counted_has_no_effect_even_where_it_is_not_a_number() -> None:
    groups = groups_of([*SCORES[:6], math.nan])
    close(groups.centred, groups_of(SCORES).centred)
    nobody = groups_of(SCORES, [False] * 7)
    assert bool((nobody.centred == 0).all()) and bool((nobody.deviations == 0).all()) and bool(nobody.is_flat.all())
    assert flat_share(nobody, torch.tensor(NUMBERS)) == 1.0


def test_what_is_not_counted_has_no_effect_on_a_group_that_differs() -> None:
    counted = [True, True, True, True, True, False, True]  # group 9: 1 and 2, without the 6; group 4: 5, 5, 7
    for left_out in (6.0, -6.0, math.nan, math.inf):
        groups = groups_of([*SCORES[:5], left_out, 7.0], counted)
        close(groups.centred, [-0.5, -2 / 3, 0.5, -2 / 3, 0.0, 0.0, 4 / 3])
        close(groups.leave_one_out()[[0, 2]], [-1.0, 1.0])
        close(groups.deviations[[0, 2]], [0.5**0.5, 0.5**0.5])


def test_a_shift_of_all_scores_leaves_what_is_flat_flat() -> None:
    for shift in (-10.0, 10.0):
        groups = groups_of([score + shift for score in SCORES])
        assert groups.is_flat.tolist() == groups_of(SCORES).is_flat.tolist()
        close(groups.centred, groups_of(SCORES).centred)


def test_deviations_are_unbiased_unless_asked_otherwise() -> None:
    scores, numbers = torch.tensor(SCORES, dtype=torch.float64), torch.tensor(NUMBERS)
    plain = compare_in_groups(scores, numbers, torch.tensor(COUNTED))
    close(plain.deviations, groups_of(SCORES).deviations)


def test_equal_scores_are_exactly_flat() -> None:
    groups = groups_of([0.1] * 7)
    assert bool((groups.centred == 0).all()) and bool((groups.standardised() == 0).all())


def test_group_comparison_carries_no_gradient() -> None:
    live = torch.tensor(SCORES, requires_grad=True)
    groups = compare_in_groups(live, torch.tensor(NUMBERS), torch.tensor(COUNTED))
    assert not groups.centred.requires_grad and not groups.deviations.requires_grad


def test_best_and_worst_of_each_group_that_differs() -> None:
    scores, numbers = torch.tensor([1.0, 5.0, 6.0, 4.0, 3.0, 6.0, 9.0]), torch.tensor(NUMBERS)
    best, worst = best_and_worst(scores, numbers, torch.tensor(COUNTED))
    assert best.tolist() == [1, 2] and worst.tolist() == [3, 0]  # group 4: rows 1, 3; group 9: rows 0, 2, 5
    best, worst = best_and_worst(torch.zeros(7), numbers, torch.tensor(COUNTED))
    assert best.tolist() == [] and worst.tolist() == []


def test_best_and_worst_match_loops() -> None:
    numbers, scores = torch.tensor([3, 1, 1, 3, 0, 0, 3, 1, 0, 0]), torch.tensor(ragged(11, [10])[0])
    best, worst = best_and_worst(scores, numbers, torch.ones(10, dtype=torch.bool))
    for place, number in enumerate((0, 1, 3)):
        rows = [row for row in range(10) if numbers[row] == number]
        assert int(best[place]) == max(rows, key=lambda row: float(scores[row]))
        assert int(worst[place]) == min(rows, key=lambda row: float(scores[row]))


@pytest.mark.parametrize("gamma", [1.0, 0.7])
def test_rewards_to_go_match_loops(gamma: float) -> None:
    rewards = ragged(12, LENGTHS)
    found = rewards_to_go(padded(rewards, math.nan, 10), mask_of(LENGTHS, 10), gamma)
    expected = [[sum(gamma**k * later for k, later in enumerate(row[t:])) for t in range(len(row))] for row in rewards]
    close_rows(unpadded(found, mask_of(LENGTHS, 10)), expected)
    assert not rewards_to_go(torch.ones(1, 1, requires_grad=True), mask_of([1])).requires_grad


def test_undiscounted_is_the_default() -> None:
    close(rewards_to_go(padded([[1.0, 2.0]]), mask_of([2])), [[3.0, 2.0]])


def test_one_number_on_every_token() -> None:
    live = torch.tensor([2.0, 3.0], requires_grad=True)
    spread = on_every_token(live, mask_of([1, 2], 3))
    close(spread, [[2.0, 0.0, 0.0], [3.0, 3.0, 0.0]])
    assert not spread.requires_grad


def test_critic_metrics() -> None:
    # values 1, 2, returns 2, 4, means 1.5 and 3; what is left is 1, 2: variance 1/4 of 1
    found = critic_metrics(padded([[1.0, 2.0]], 9.0, 3), padded([[2.0, 4.0]], 9.0, 3), mask_of([2], 3))
    assert found == {"explained_variance": 0.75, "value_mean": 1.5, "return_mean": 3.0}
