"""The moving average against its definition."""

import pytest
from checks import close

from tuningfork.methods.baseline import MovingAverage


def test_worked_example() -> None:
    # decay 0.9: after 2: total 0.2, weight 0.1, value 2; after 4: total 0.58, weight 0.19, value 58 / 19
    first = MovingAverage(0.9).update(2.0)
    close([first.total, first.weight, first.value], [0.2, 0.1, 2.0])
    second = first.update(4.0)
    close([second.total, second.weight, second.value], [0.58, 0.19, 58 / 19])
    assert second.decay == 0.9


def test_before_any_batch_it_is_zero() -> None:
    assert MovingAverage(0.5).value == 0.0


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.99])
def test_it_is_the_weighted_mean_of_all_batches(decay: float) -> None:
    numbers = [3.0, -1.0, 0.5, 7.0]
    average = MovingAverage(decay)
    for number in numbers:
        average = average.update(number)
    weights = [decay ** (len(numbers) - 1 - place) for place in range(len(numbers))]
    close(average.value, sum(w * x for w, x in zip(weights, numbers, strict=True)) / sum(weights))


def test_a_constant_stays() -> None:
    average = MovingAverage(0.7)
    for _ in range(5):
        average = average.update(1.25)
        close(average.value, 1.25)


def test_it_survives_a_checkpoint() -> None:
    average = MovingAverage(0.7).update(1.0).update(5.0)
    assert MovingAverage(0.7).restored(average.state()) == average
