"""ReST: thresholds over the pool."""

import random

import pytest
from pydantic import ValidationError

from tuningfork.methods.selection import rest
from tuningfork.methods.selection.rest import Settings, quantile


def uniforms(count: int) -> list:  # type: ignore[type-arg]
    return [random.Random(number).random for number in range(count)]


def test_worked_example() -> None:
    groups = [[1.0, 5.0, 3.0], [2.0, 4.0]]
    # 1 2 3 4 5: floor(.7 * 5) = 3, so the threshold is 4
    assert rest.select(groups, uniforms(2), Settings(threshold=0.7)) == [[1], [1]]
    assert rest.select(groups, uniforms(2), Settings(threshold=3.0, by="score")) == [[1, 2], [1]]
    assert rest.select(groups, uniforms(2), Settings(threshold=0.0)) == [[0, 1, 2], [0, 1]]


def test_against_counting() -> None:
    numbers = random.Random(1)
    groups = [[numbers.gauss(0, 1) for _ in range(6)] for _ in range(9)]
    pool = [score for scores in groups for score in scores]
    for share in (0.0, 0.3, 0.5, 0.99):
        kept = rest.select(groups, uniforms(9), Settings(threshold=share, most=100))
        values = [groups[i][j] for i, places in enumerate(kept) for j in places]
        below = [score for score in pool if score not in values]
        assert len(below) == int(share * len(pool)) and max(below, default=-99.0) < min(values)


def test_rising_thresholds_keep_less_of_the_same() -> None:
    numbers = random.Random(2)
    groups = [[numbers.gauss(0, 1) for _ in range(8)] for _ in range(5)]
    before: list[set[int]] = [set(range(8)) for _ in groups]
    for threshold in (0.0, 0.4, 0.7, 0.9):
        kept = [set(places) for places in rest.select(groups, uniforms(5), Settings(threshold=threshold, most=8))]
        assert all(now <= then for now, then in zip(kept, before, strict=True))
        before = kept
    assert sum(map(len, before)) == 4  # 40 less floor(.9 * 40)


def test_a_prompt_has_at_most_so_many() -> None:
    assert rest.select([[9.0, 8.0, 7.0, 6.0], [1.0]], uniforms(2), Settings(threshold=0.0, most=2)) == [[0, 1], [0]]
    tied = [
        rest.select([[1.0] * 4], [random.Random(s).random], Settings(threshold=0.0, most=1))[0][0] for s in range(80)
    ]
    assert set(tied) == {0, 1, 2, 3}


def test_quantile_of_ties_and_of_nothing() -> None:
    assert quantile([1.0, 1.0, 1.0, 2.0], 0.5) == 1.0 and quantile([3.0], 0.99) == 3.0
    assert rest.select([[], []], uniforms(2), Settings()) == [[], []]


def test_a_quantile_is_a_share() -> None:
    with pytest.raises(ValidationError, match="a quantile lies from 0 to below 1"):
        Settings(threshold=1.0)


def test_defaults_and_what_makes_no_sense() -> None:
    assert (Settings().threshold, Settings().most, quantile([], 0.5)) == (0.7, 4, 0.0)
    with pytest.raises(ValidationError):
        Settings(most=0)
    with pytest.raises(ValueError, match="shorter"):
        rest.select([[1.0, 2.0], [1.0, 3.0]], uniforms(1), Settings())
