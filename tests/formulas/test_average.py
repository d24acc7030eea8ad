"""Weights of the four averages, and that no split into micro-batches changes a gradient."""

from typing import Any

import pytest
import torch
from checks import close, gradient, mask_of, padded, ragged
from torch import Tensor

from tuningfork.errors import RecipeError
from tuningfork.methods.average import Average, average_weights

LENGTHS = [3, 1, 0, 4]
KINDS: list[tuple[Average, int | None]] = [
    ("token_mean", None),
    ("sequence_mean", None),
    ("sequence_sum", None),
    ("constant", 5),
]


@pytest.mark.parametrize(
    ("kind", "length", "first", "second", "last"),
    [
        ("token_mean", None, 1 / 8, 1 / 8, 1 / 8),  # 3 + 1 + 4 tokens
        ("sequence_mean", None, 1 / 9, 1 / 3, 1 / 12),  # 3 sequences with tokens
        ("sequence_sum", None, 1 / 3, 1 / 3, 1 / 3),
        ("constant", 5, 1 / 15, 1 / 15, 1 / 15),
    ],
)
def test_worked_example(kind: Average, length: int | None, first: float, second: float, last: float) -> None:
    expected = padded([[first] * 3, [second], [], [last] * 4], 0.0)
    close(average_weights(mask_of(LENGTHS).double(), kind, length), expected)
    close(average_weights(mask_of(LENGTHS), kind, length), expected, 1e-7)


@pytest.mark.parametrize(("kind", "length"), KINDS)
def test_one_sequence_alone(kind: Average, length: int | None) -> None:
    each = {"token_mean": 1 / 4, "sequence_mean": 1 / 4, "sequence_sum": 1.0, "constant": 1 / 5}[kind]
    close(average_weights(mask_of([4]), kind, length), [[each] * 4], 1e-7)


def test_weights_are_floating_point_of_the_given_precision() -> None:
    for kind, length in KINDS:
        assert average_weights(mask_of(LENGTHS), kind, length).dtype == torch.float32
        assert average_weights(mask_of(LENGTHS).double(), kind, length).dtype == torch.float64


def test_loss_weights_count_tokens_fractionally() -> None:
    weights = torch.tensor([[0.0, 0.5, 1.5], [0.0, 0.25, 0.0]], dtype=torch.float64)
    close(average_weights(weights, "token_mean"), weights / 2.25)
    close(average_weights(weights, "sequence_mean"), [[0.0, 0.125, 0.375], [0.0, 0.5, 0.0]])
    close(average_weights(weights * 0.1, "token_mean"), weights / 2.25)


@pytest.mark.parametrize(("kind", "length"), KINDS)
def test_empty_mask_gives_zero_weights(kind: Average, length: int | None) -> None:
    close(average_weights(torch.zeros(2, 3, dtype=torch.bool), kind, length), torch.zeros(2, 3))


@pytest.mark.parametrize(("kind", "length"), KINDS)
@pytest.mark.parametrize("cuts", [[4], [1, 3], [2, 2], [1, 1, 1, 1]])
def test_micro_batches_give_the_same_gradient(kind: Average, length: int | None, cuts: list[int]) -> None:
    weights = average_weights(mask_of(LENGTHS).double(), kind, length)
    x = padded(ragged(1, LENGTHS), 0.3)

    def loss(rows: Tensor) -> Tensor:
        pieces = zip(rows.split(cuts), weights.split(cuts), strict=True)
        return sum(((piece.sin() * weight).sum() for piece, weight in pieces), torch.zeros((), dtype=torch.float64))

    close(gradient(loss, x), x.cos() * weights, 1e-12)


@pytest.mark.parametrize(("kind", "length"), KINDS)
def test_padding_and_order_do_not_matter(kind: Average, length: int | None) -> None:
    weights = average_weights(mask_of(LENGTHS), kind, length)
    wide = average_weights(mask_of(LENGTHS, 9, left=2).flip(0), kind, length)
    close(wide.flip(0)[:, 2:6], weights, 1e-12)


@pytest.mark.parametrize(
    ("kind", "length", "message"),
    [("median", None, "token_mean, sequence_mean"), ("constant", None, "length"), ("token_mean", 5, "length")],
)
def test_unknown_averages_and_stray_lengths_are_refused(kind: Any, length: int | None, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        average_weights(mask_of(LENGTHS), kind, length)
