"""Clipped losses of PPO: the sign table, hand values, plain loops."""

import math

import pytest
import torch
from checks import Rows, close, close_rows, differentiate, gradient, mask_of, padded, ragged, unpadded
from torch import Tensor

from tuningfork.methods.surrogate import (
    clipped_surrogate,
    clipped_value_loss,
    group_metrics,
    policy_gradient,
    ratio_metrics,
    sequence_log_ratio,
    surrogate_metrics,
)

ROWS = [4, 4, 4]


def logs(*ratios: float) -> Tensor:
    return torch.tensor([ratios], dtype=torch.float64).log()


def scalar_surrogate(new: float, old: float, advantage: float, e: float) -> float:
    ratio = math.exp(new) / math.exp(old)
    return -min(
        ratio * advantage, min(max(ratio, 1 - e), 1 + e) * advantage
    )  # eq. 7 is the objective, a loss its negative


def scalar_value_loss(value: float, old: float, target: float, e: float | None) -> float:
    errors = [(value - target) ** 2]
    if e is not None:
        errors.append((min(max(value, old - e), old + e) - target) ** 2)
    return max(errors) / 2


def test_worked_example() -> None:
    # A = 2: ratio 1.5 is clipped to 1.2, -2.4; ratio 0.5 is not, -1.  A = -1: ratio 1.5 is not, 1.5; ratio 0.5 -> 0.8
    advantages = torch.tensor([[2.0, 2.0, -1.0, -1.0]], dtype=torch.float64)
    losses = clipped_surrogate(logs(1.5, 0.5, 1.5, 0.5), logs(1, 1, 1, 1), advantages, 0.2)
    close(losses, [[-2.4, -1.0, 1.5, 0.8]])


@pytest.mark.parametrize(
    ("advantage", "ratio", "slope"),
    [  # the gradient in logprob is -A ratio where it lives
        (2.0, 1.5, 0.0),
        (2.0, 0.5, -1.0),
        (-2.0, 0.5, 0.0),
        (-2.0, 1.5, 3.0),
        (2.0, 1.1, -2.2),
        (-2.0, 0.9, 1.8),
    ],
)
def test_sign_table_of_the_gradient(advantage: float, ratio: float, slope: float) -> None:
    signal = torch.tensor([[advantage]], dtype=torch.float64)
    close(gradient(lambda x: clipped_surrogate(x, logs(1), signal, 0.2).sum(), logs(ratio)), [[slope]])


def test_surrogate_and_gradient_match_loops() -> None:
    new, old, advantages = ragged(1, ROWS, 0.4), ragged(2, ROWS, 0.4), ragged(3, ROWS)

    def each(values: Rows) -> Rows:
        return [
            [scalar_surrogate(*triple, 0.2) for triple in zip(*three, strict=True)]
            for three in zip(values, old, advantages, strict=True)
        ]

    def losses(x: Tensor) -> Tensor:
        return clipped_surrogate(x, padded(old), padded(advantages), 0.2)

    close(losses(padded(new)), each(new))
    slopes = differentiate(lambda values: sum(map(sum, each(values))), new)
    close_rows(gradient(lambda x: losses(x).sum(), padded(new)).tolist(), slopes)
    assert 0 < sum(slope == 0 for row in slopes for slope in row) < 12, "the data reach both sides of the clip"


def test_ratio_one_is_the_policy_gradient() -> None:
    old, advantages = padded(ragged(4, ROWS)), padded(ragged(5, ROWS))
    close(gradient(lambda x: clipped_surrogate(x, old, advantages, 0.2).sum(), old), -advantages)
    close(clipped_surrogate(old, old, advantages, 0.2), -advantages)


@pytest.mark.parametrize("e", [0.2, None])
def test_value_loss_and_gradient_match_loops(e: float | None) -> None:
    values, old, targets = ragged(6, ROWS), ragged(7, ROWS, 0.5), ragged(8, ROWS)

    def each(numbers: Rows) -> Rows:
        return [
            [scalar_value_loss(*triple, e) for triple in zip(*three, strict=True)]
            for three in zip(numbers, old, targets, strict=True)
        ]

    def losses(x: Tensor) -> Tensor:
        return clipped_value_loss(x, padded(old), padded(targets), e)

    close(losses(padded(values)), each(values))
    slopes = differentiate(lambda numbers: sum(map(sum, each(numbers))), values)
    close_rows(gradient(lambda x: losses(x).sum(), padded(values)).tolist(), slopes)


@pytest.mark.parametrize(
    ("value", "target", "loss", "slope"),
    [  # old value 0, range 0.2
        (0.5, 1.0, 0.32, 0.0),  # moved towards the target, too far: the clipped error 0.8 counts, 0.64 / 2
        (-0.5, 1.0, 1.125, -1.5),  # moved away: its own error 1.5 counts
        (0.5, 0.0, 0.125, 0.5),
        (0.1, 1.0, 0.405, -0.9),
    ],
)
def test_value_loss_takes_the_worse_error(value: float, target: float, loss: float, slope: float) -> None:
    x, zero = torch.tensor([[value]], dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64)
    close(clipped_value_loss(x, zero, zero + target, 0.2), [[loss]])
    close(gradient(lambda v: clipped_value_loss(v, zero, zero + target, 0.2).sum(), x), [[slope]])


def test_a_narrow_range_freezes_a_critic_of_large_returns() -> None:
    zero = torch.zeros(1, 1, dtype=torch.float64)
    moved = zero + 0.3  # returns of 10 ask for 10
    close(gradient(lambda v: clipped_value_loss(v, zero, zero + 10.0, 0.2).sum(), moved), [[0.0]])
    close(gradient(lambda v: clipped_value_loss(v, zero, zero + 10.0, None).sum(), moved), [[-9.7]])


def test_only_the_new_forward_carries_a_gradient() -> None:
    fixed = [torch.randn(2, 3, requires_grad=True) for _ in range(4)]
    new = torch.randn(2, 3, requires_grad=True)
    loss = clipped_surrogate(new, fixed[0], fixed[1], 0.2) + clipped_value_loss(new, fixed[2], fixed[3], 0.2)
    loss.sum().backward()
    assert new.grad is not None and all(tensor.grad is None for tensor in fixed)
    metrics = surrogate_metrics(new, fixed[0], fixed[1].detach(), loss)
    assert not any(metric.requires_grad for metric in metrics.values())


def test_metrics() -> None:
    advantages = torch.tensor([[2.0, 2.0, -1.0, -1.0]], dtype=torch.float64)
    new, old = logs(1.5, 0.5, 1.5, 0.5), logs(1, 1, 1, 1)
    metrics = surrogate_metrics(new, old, advantages, clipped_surrogate(new, old, advantages, 0.2))
    close(metrics["ratio_mean"], [[1.5, 0.5, 1.5, 0.5]])
    close(metrics["ratio_max"], [[1.5, 0.5, 1.5, 0.5]])
    close(metrics["clip_fraction"], [[1.0, 0.0, 0.0, 1.0]])
    close(metrics["policy_loss"], [[-2.4, -1.0, 1.5, 0.8]])
    high, low = 0.5 - math.log(1.5), -0.5 + math.log(2)
    close(metrics["approx_kl"], [[high, low, high, low]])


def test_approx_kl_expects_the_divergence_from_old_to_new() -> None:
    old = torch.tensor([[0.5, 0.3, 0.2]], dtype=torch.float64)
    new = torch.tensor([[0.2, 0.2, 0.6]], dtype=torch.float64)
    zero = torch.zeros(1, 3, dtype=torch.float64)
    approx = surrogate_metrics(new.log(), old.log(), zero, zero)["approx_kl"]
    close((old * approx).sum(), (old * (old / new).log()).sum(), 1e-12)


def test_two_clip_ranges() -> None:
    # A = 1: 1.4 is below 1 + 0.5, 1.6 is clipped to it.  A = -1: 0.85 is clipped to 1 - 0.1, 0.95 is above it
    advantages = torch.tensor([[1.0, 1.0, -1.0, -1.0]], dtype=torch.float64)
    losses = clipped_surrogate(logs(1.4, 1.6, 0.85, 0.95), logs(1, 1, 1, 1), advantages, 0.1, 0.5)
    close(losses, [[-1.4, -1.5, 0.9, 0.95]])


def test_policy_gradient() -> None:
    live, fixed = torch.tensor([[-2.0]], requires_grad=True), torch.tensor([[3.0]], requires_grad=True)
    loss = policy_gradient(live, fixed)
    close(loss, [[6.0]])
    loss.sum().backward()
    assert live.grad is not None and fixed.grad is None
    close(live.grad, [[-3.0]])


@pytest.mark.parametrize("mean", [False, True])
def test_sequence_log_ratio_matches_loops(mean: bool) -> None:
    lengths = [3, 1, 4]
    new, old = ragged(13, lengths), ragged(14, lengths)
    mask = mask_of(lengths, 6)
    found = sequence_log_ratio(padded(new, math.nan, 6), padded(old, math.nan, 6), mask, mean=mean)
    expected = [
        [sum(p - q for p, q in zip(row, other, strict=True)) / (len(row) if mean else 1)] * len(row)
        for row, other in zip(new, old, strict=True)
    ]
    close_rows(unpadded(found, mask), expected)
    empty = sequence_log_ratio(torch.ones(1, 2), torch.zeros(1, 2), torch.zeros(1, 2, dtype=torch.bool), mean=mean)
    close(empty, [[0.0, 0.0]])


def test_sequence_log_ratio_gives_every_token_the_gradient_of_the_sum() -> None:
    x = padded([[0.1, 0.2, 0.3]])
    mask = mask_of([3])
    close(gradient(lambda p: sequence_log_ratio(p, 0 * x, mask, mean=False)[0, 0], x), [[1.0, 1.0, 1.0]])
    close(gradient(lambda p: sequence_log_ratio(p, 0 * x, mask, mean=True)[0, 0], x), [[1 / 3, 1 / 3, 1 / 3]])
    old = (0 * x).requires_grad_()
    sequence_log_ratio(x.clone().requires_grad_(), old, mask, mean=True).sum().backward()
    assert old.grad is None


def test_ratio_metrics() -> None:
    losses = torch.tensor([[3.0]], dtype=torch.float64, requires_grad=True)
    found = ratio_metrics(logs(1.5).requires_grad_(), logs(1), losses)
    assert found.keys() == {"policy_loss", "ratio_mean", "ratio_max", "approx_kl"}
    assert not any(metric.requires_grad for metric in found.values())
    close([found[name][0, 0] for name in found], [3.0, 1.5, 1.5, 0.5 - math.log(1.5)])


def test_group_metrics_tell_the_sides_of_the_clip_apart() -> None:
    advantages = torch.tensor([[2.0, 2.0, -1.0, -1.0]], dtype=torch.float64)
    new, old = logs(1.5, 0.5, 1.5, 0.5), logs(1, 1, 1, 1)
    losses = clipped_surrogate(new, old, advantages, 0.2).requires_grad_()
    found = group_metrics(new, old, advantages, losses, new.exp().requires_grad_())
    assert not any(metric.requires_grad for metric in found.values())
    close(found["clip_fraction"], [[1.0, 0.0, 0.0, 1.0]])
    close(found["clip_fraction_high"], [[1.0, 0.0, 0.0, 0.0]])
    close(found["clip_fraction_low"], [[0.0, 0.0, 0.0, 1.0]])
    close(found["ratio_mean"], [[1.5, 0.5, 1.5, 0.5]])


def test_a_small_advantage_is_on_its_own_side_of_the_clip() -> None:
    # ratios 1.5 and 0.5 beyond a range of 0.2, advantages +-0.5
    ratio, advantages = torch.tensor([[1.5, 0.5]]), torch.tensor([[0.5, -0.5]])
    losses = clipped_surrogate(ratio.log(), torch.zeros(1, 2), advantages, 0.2)
    found = group_metrics(ratio.log(), torch.zeros(1, 2), advantages, losses, ratio)
    close(found["clip_fraction_high"], [[1.0, 0.0]])
    close(found["clip_fraction_low"], [[0.0, 1.0]])
