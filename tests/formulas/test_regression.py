"""Rating losses against plain loops: missing ratings, the bend of Huber's, direction."""

import pytest
import torch
from checks import close, differentiate, gradient, ragged

from tuningfork.methods.regression import Settings, rating_loss

SQUARED, HUBER = Settings(), Settings(kind="huber", delta=0.5)


def scalar(scores: list[float], ratings: list[float], given: list[bool], settings: Settings) -> float:
    prices = []
    for s, y, there in zip(scores, ratings, given, strict=True):
        if there:
            error = abs(s - y)
            is_far = settings.kind == "huber" and error > settings.delta
            prices.append(settings.delta * (error - settings.delta / 2) if is_far else error**2 / 2)
    return sum(prices) / len(prices) if prices else 0.0


def test_worked_example() -> None:
    # errors 2 and -0.4; huber with delta 1/2: 0.5 (2 - 0.25) = 0.875 and 0.08
    scores, ratings = torch.tensor([[2.0], [0.6]]), torch.tensor([[0.0], [1.0]])
    mask = torch.ones(2, 1).bool()
    close(rating_loss(scores, ratings, mask, SQUARED)[0], [2.0, 0.08], 1e-7)
    losses, metrics = rating_loss(scores, ratings, mask, HUBER)
    close(losses, [0.875, 0.08], 1e-7)
    close(metrics["rating_error"], [2.0, 0.4], 1e-7)
    # the bend is at 1 where nothing else is said: 1 (2 - 0.5)
    close(rating_loss(scores, ratings, mask, Settings(kind="huber"))[0], [1.5, 0.08], 1e-7)


def test_metrics_are_means_over_what_was_rated_and_carry_no_gradient() -> None:
    scores = torch.tensor([[2.0, 1.0, 9.0], [1.0, 1.0, 1.0]], requires_grad=True)
    mask = torch.tensor([[True, True, False], [False, False, False]])
    losses, metrics = rating_loss(scores, torch.zeros(2, 3), mask, SQUARED)
    close(metrics["loss"], losses.detach())
    close(metrics["rating_error"], [1.5, 0.0])
    assert losses.requires_grad and not any(value.requires_grad for value in metrics.values())


@pytest.mark.parametrize("settings", [SQUARED, HUBER, Settings(kind="huber")])
def test_values_and_gradients_match_loops(settings: Settings) -> None:
    scores, ratings = ragged(1, [3, 3, 3, 3]), ragged(2, [3, 3, 3, 3], scale=2.0)
    given = [[True, True, True], [True, False, True], [False, False, True], [False, False, False]]
    x, y = torch.tensor(scores, dtype=torch.float64), torch.tensor(ratings, dtype=torch.float64)
    y[~torch.tensor(given)] = float("nan")  # what was not given may hold anything
    mask = torch.tensor(given)
    close(
        rating_loss(x, y, mask, settings)[0],
        [scalar(*row, settings) for row in zip(scores, ratings, given, strict=True)],
    )

    def total(rows: list[list[float]]) -> float:
        return sum(scalar(*row, settings) for row in zip(rows, ratings, given, strict=True))

    slopes = gradient(lambda s: rating_loss(s, y, mask, settings)[0].sum(), x)
    close(slopes, differentiate(total, scores))
    assert bool((slopes[~mask] == 0).all())


def test_huber_is_squared_near_and_linear_far() -> None:
    mask, zero = torch.ones(1, 1).bool(), torch.zeros(1, 1)
    near, far = torch.tensor([[0.3]]), torch.tensor([[30.0]])
    close(rating_loss(near, zero, mask, HUBER)[0], rating_loss(near, zero, mask, SQUARED)[0])
    close(gradient(lambda x: rating_loss(x, zero, mask, HUBER)[0].sum(), far), [[0.5]])


@pytest.mark.parametrize("settings", [SQUARED, HUBER])
def test_a_step_goes_towards_the_rating(settings: Settings) -> None:
    slopes = gradient(lambda x: rating_loss(x, torch.tensor([[1.0, -1.0]]), torch.ones(1, 2).bool(), settings)[0].sum(),
                      torch.zeros(1, 2))  # fmt: skip
    assert slopes[0, 0] < 0 < slopes[0, 1]
