"""Next-token loss at the targets, and the shift that finds what predicts them."""

import math

import pytest
import torch
from checks import Rows, close, close_rows, differentiate, gradient, padded, ragged
from torch import Tensor

from tuningfork.methods.average import average_weights
from tuningfork.methods.supervised import token_loss
from tuningfork.tensors import at_targets, predictors

IDS = torch.tensor([[0, 3, 1, 2], [1, 2, 2, 0]])
WEIGHTS = torch.tensor([[0, 0, 1, 1], [0, 2, 0, 0]], dtype=torch.float64)
IS_TARGET = WEIGHTS > 0


def logits() -> Tensor:
    return padded(ragged(1, [5] * 8, 2.0)).view(2, 4, 5)


def scalar_loss(rows: Rows) -> float:
    """Weighted mean of -log softmax: row 4 i + t - 1 predicts token t of text i."""
    total = 0.0
    for i in range(2):
        for t in range(1, 4):
            row, weight = rows[4 * i + t - 1], float(WEIGHTS[i, t])
            total += weight * (math.log(sum(math.exp(x) for x in row)) - row[int(IDS[i, t])])
    return total / 4


def our_loss(x: Tensor, ids: Tensor = IDS, weights: Tensor = WEIGHTS) -> Tensor:
    is_target = weights > 0
    losses, _ = token_loss(predictors(x.view(2, 4, 5), is_target), ids[is_target])
    return (losses * average_weights(weights, "token_mean")[is_target]).sum()


def test_worked_example() -> None:
    # odds of the right word 3 : 1 and 1 : 3, so -log 3/4 and -log 1/4
    x = torch.tensor([[0.0, math.log(3.0)], [0.0, math.log(3.0)]], dtype=torch.float64)
    losses, metrics = token_loss(x, torch.tensor([1, 0]))
    close(losses, [-math.log(0.75), -math.log(0.25)])
    close(metrics["nll"], losses)
    close(metrics["token_accuracy"], [1.0, 0.0])


def test_loss_and_gradient_match_loops() -> None:
    rows = logits().view(8, 5).tolist()
    close(our_loss(logits()), scalar_loss(rows))
    close_rows(gradient(our_loss, logits().view(8, 5)).tolist(), differentiate(scalar_loss, rows))


def test_what_is_no_target_does_not_matter() -> None:
    other, x = IDS.clone(), logits()
    other[0, 1] = 4  # a prompt token as a label, not as an input
    x[0, 0] = math.nan  # what predicts it
    x[:, -1] = math.nan  # nothing comes after the last token
    close(our_loss(x, other), our_loss(logits()))


def test_each_target_is_predicted_from_the_column_before_it() -> None:
    slopes = gradient(our_loss, logits()).abs().sum(-1) > 0
    assert slopes.tolist() == [[False, True, True, False], [True, False, False, False]]


def test_predictors_come_in_the_order_of_their_targets() -> None:
    hidden = torch.arange(8.0).view(2, 4, 1)
    close(predictors(hidden, IS_TARGET), [[1.0], [2.0], [4.0]])  # of targets (0, 2), (0, 3), (1, 1)


def test_values_go_back_to_the_columns_of_their_targets() -> None:
    close(at_targets(torch.tensor([5.0, 6.0, 7.0]), IS_TARGET), [[0.0, 0.0, 5.0, 6.0], [0.0, 7.0, 0.0, 0.0]])
    close(gradient(lambda x: at_targets(x, IS_TARGET)[0].sum(), torch.zeros(3)), [1.0, 1.0, 0.0])


def test_the_last_target_counts_even_if_padding_has_the_same_id() -> None:
    # eos = pad = 2: text (0, 2), padding (2, 2); the weights, not the ids, say which 2 is a target
    ids, is_target = torch.tensor([[0, 2, 2, 2]]), torch.tensor([[False, True, False, False]])
    losses, _ = token_loss(predictors(torch.zeros(1, 4, 5, dtype=torch.float64), is_target), ids[is_target])
    close(losses, [math.log(5.0)])


@pytest.mark.parametrize("cuts", [[2], [1, 1]])
def test_micro_batches_give_the_same_gradient(cuts: list[int]) -> None:
    weights = average_weights(WEIGHTS, "token_mean")

    def split(x: Tensor) -> Tensor:
        total = torch.zeros((), dtype=torch.float64)
        for piece, ids, weight in zip(x.split(cuts), IDS.split(cuts), weights.split(cuts), strict=True):
            losses, _ = token_loss(predictors(piece, weight > 0), ids[weight > 0])
            total = total + (losses * weight[weight > 0]).sum()
        return total

    close(gradient(split, logits()), gradient(our_loss, logits()), 1e-12)


def test_no_target_gives_zero_with_a_graph() -> None:
    x = logits()
    close(our_loss(x, weights=torch.zeros_like(WEIGHTS)), 0.0)
    close(gradient(lambda v: our_loss(v, weights=torch.zeros_like(WEIGHTS)), x), torch.zeros(2, 4, 5))


def test_a_step_down_the_gradient_raises_the_likelihood() -> None:
    x = logits()
    assert our_loss(x - 0.1 * gradient(our_loss, x)) < our_loss(x)


def test_metrics_carry_no_gradient() -> None:
    _, metrics = token_loss(torch.zeros(3, 5, requires_grad=True), torch.tensor([0, 1, 2]))
    assert not any(metric.requires_grad for metric in metrics.values())
