"""Scores to rewards: where the score lands, what KL costs, what a missing EOS does."""

import math
from itertools import pairwise

import pytest
import torch
from checks import close, close_rows, mask_of, padded, ragged, unpadded
from pydantic import ValidationError

from tuningfork.methods import shaping

LENGTHS = [3, 1, 6, 2]


def score(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def paid(scores: torch.Tensor, new: torch.Tensor, ref: torch.Tensor, mask: torch.Tensor, beta: float) -> torch.Tensor:
    """Scores at the end, less the price of KL."""
    return shaping.kl_shaped_rewards(shaping.terminal_rewards(scores, mask), new, ref, mask, beta)


def test_prefix_rewards_worked_example() -> None:
    # prompt 0.5, then 0.75 and 2; the rules made 3 of the score 2: 0.25, and 1.25 + 1. The second row is one token: -1
    prefixes = padded([[0.5, 0.75, 2.0, 0.0], [1.0, 0.0, 0.0, 0.0]])
    rewards = shaping.prefix_rewards(score(3.0, 0.0), prefixes, mask_of([2, 1], 3))
    close(rewards, [[0.25, 2.25, 0.0], [-1.0, 0.0, 0.0]])


@pytest.mark.parametrize("left", [0, 3])
def test_prefix_rewards_match_loops_and_sum_to_score_less_the_prompts(left: int) -> None:
    prefixes = ragged(4, [length + 1 for length in LENGTHS])
    scores = [row[-1] + extra for row, extra in zip(prefixes, (0.0, 1.0, 0.0, -2.0), strict=True)]
    mask = mask_of(LENGTHS, 10, left)
    table = torch.zeros(4, 11, dtype=torch.float64)
    for row, values in enumerate(prefixes):
        table[row, : left + 1] = values[0]
        table[row, left : left + len(values)] = torch.tensor(values, dtype=torch.float64)
    rewards = shaping.prefix_rewards(score(*scores), table, mask)
    expected = [
        [b - a + (s - row[-1] if t == len(row) - 2 else 0.0) for t, (a, b) in enumerate(pairwise(row))]
        for row, s in zip(prefixes, scores, strict=True)
    ]
    close_rows(unpadded(rewards, mask), expected)
    close(rewards.sum(-1), [s - row[0] for s, row in zip(scores, prefixes, strict=True)])


def test_rewards_worked_example() -> None:
    # d = (0.5, -0.25); beta 0.1: rewards -0.05, and 2 + 0.025
    new, ref = padded([[-1.0, -1.0]], width=4), padded([[-1.5, -0.75]], width=4)
    close(paid(score(2.0), new, ref, mask_of([2], 4), 0.1), [[-0.05, 2.025, 0.0, 0.0]])


def test_rewards_match_loops_and_sum_to_score_less_kl() -> None:
    new, ref, scores, beta = ragged(1, LENGTHS), ragged(2, LENGTHS), ragged(3, [4])[0], 0.3
    rewards = paid(score(*scores), padded(new), padded(ref), mask_of(LENGTHS), beta)
    expected = [
        [-beta * (p - r) + (s if t == len(row) - 1 else 0.0) for t, (p, r) in enumerate(zip(row, other, strict=True))]
        for row, other, s in zip(new, ref, scores, strict=True)
    ]
    close_rows(unpadded(rewards, mask_of(LENGTHS)), expected)
    sums = [s - beta * (sum(row) - sum(other)) for row, other, s in zip(new, ref, scores, strict=True)]
    close(rewards.sum(-1), sums)


@pytest.mark.parametrize("left", [0, 4])
def test_score_lands_on_the_last_response_token(left: int) -> None:
    mask = mask_of(LENGTHS, 12, left)
    rewards = shaping.terminal_rewards(score(1.0, 2.0, 3.0, 4.0), mask)
    assert [row.nonzero().flatten().tolist() for row in rewards] == [[left + length - 1] for length in LENGTHS]
    close(rewards.sum(-1), [1.0, 2.0, 3.0, 4.0])


def test_a_row_without_tokens_gets_no_reward() -> None:
    close(shaping.terminal_rewards(score(5.0, 7.0), mask_of([0, 1], 2)), [[0.0, 0.0], [7.0, 0.0]])


def test_rewards_carry_no_gradient() -> None:
    new, scores = torch.zeros(1, 2, requires_grad=True), torch.ones(1, requires_grad=True)
    ref = torch.ones(1, 2, requires_grad=True)
    assert not paid(scores, new, ref, mask_of([2]), 0.1).requires_grad
    assert not shaping.terminal_rewards(scores, mask_of([2])).requires_grad
    prefixes = torch.zeros(1, 3, requires_grad=True)
    assert not shaping.prefix_rewards(scores, prefixes, mask_of([2])).requires_grad
    rewards = torch.ones(1, 2, requires_grad=True)
    assert not shaping.kl_shaped_rewards(rewards, new, ref, mask_of([2]), 0.1).requires_grad


def test_what_stands_outside_the_mask_is_no_reward() -> None:
    zeros = torch.zeros(1, 3, dtype=torch.float64)
    rewards = torch.tensor([[1.0, 5.0, 7.0]], dtype=torch.float64)
    close(shaping.kl_shaped_rewards(rewards, zeros, zeros, mask_of([1], 3), 0.1), [[1.0, 0.0, 0.0]])


def test_drifting_from_the_reference_costs() -> None:
    ref = padded([[-1.0]])
    near, far = padded([[-0.9]]), padded([[-0.1]])
    rewards = [paid(score(0.0), new, ref, mask_of([1]), 0.5).item() for new in (near, far)]
    assert 0 > rewards[0] > rewards[1]


def test_score_of_a_response_without_eos_is_replaced() -> None:
    shaped, metrics = shaping.shape_scores(score(2.0, -3.0), torch.tensor([True, False]), shaping.Settings())
    close(shaped, [2.0, -1.0])
    close(metrics["eos"], [1.0, 0.0])
    close(metrics["clipped_rewards"], [0.0, 0.0])


def test_penalty_for_a_missing_eos_is_taken_off() -> None:
    settings = shaping.Settings(missing_eos_score=None, missing_eos_penalty=0.5)
    close(shaping.shape_scores(score(2.0, -3.0), torch.tensor([True, False]), settings)[0], [2.0, -3.5])


def test_without_a_rule_the_score_is_kept() -> None:
    settings = shaping.Settings(missing_eos_score=None)
    close(shaping.shape_scores(score(2.0, -3.0), torch.tensor([True, False]), settings)[0], [2.0, -3.0])


def test_order_is_normalise_then_eos_then_clip() -> None:
    # (9 - 1) / 2 = 4, clipped to 3; (0 - 1) / 2 = -0.5; the third has no EOS: -7, clipped to -3
    settings = shaping.Settings(missing_eos_score=-7.0, clip=3.0)
    has_eos = torch.tensor([True, True, False])
    shaped, metrics = shaping.shape_scores(score(9.0, 0.0, 5.0), has_eos, settings, mean=1.0, deviation=2.0)
    close(shaped, [3.0, -0.5, -3.0])
    close(metrics["clipped_rewards"], [1.0, 0.0, 1.0])


def test_normalised_reference_scores_have_mean_zero_and_deviation_one() -> None:
    raw = score(*ragged(4, [50], 3.0, -2.0)[0])
    mean, deviation = raw.mean().item(), raw.std(correction=0).item()
    normal = shaping.normalise(raw, mean, deviation)
    close(normal.mean(), 0.0)
    close(normal.square().mean(), 1.0)
    close(shaping.normalise(score(4.0), 1.0, 2.0), [1.5])


def test_defaults() -> None:
    settings = shaping.Settings()
    assert (settings.missing_eos_score, settings.missing_eos_penalty, settings.clip) == (-1.0, None, None)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"missing_eos_penalty": 1.0}, "missing_eos_penalty has no effect"),
        ({"missing_eos_score": None, "missing_eos_penalty": 0.0}, "greater than 0"),
        ({"clip": 0.0}, "greater than 0"),
    ],
)
def test_settings_refuse_what_makes_no_sense(values: dict[str, float | None], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        shaping.Settings.model_validate(values)


def test_small_bounds_are_allowed() -> None:
    settings = shaping.Settings(missing_eos_score=None, missing_eos_penalty=0.1, clip=0.1)
    assert math.isclose(settings.clip or 0.0, 0.1)


def test_overlong_penalty() -> None:
    # Lmax 10, Lc 4: nothing up to 6, then a quarter a token; never below -1
    lengths = torch.tensor([1.0, 6.0, 7.0, 9.0, 10.0, 12.0], dtype=torch.float64)
    close(shaping.overlong_penalty(lengths, 10, 4.0), [0.0, 0.0, -0.25, -0.75, -1.0, -1.0])
