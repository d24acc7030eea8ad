"""Ranks and correlations against worked examples and scipy; groups; intervals."""

from __future__ import annotations

import numpy as np
import pytest

from tuningfork.evals.correlation import correlation_within, pearson, ranks, spearman, spearman_interval, within_groups


def test_ranks_share_the_mean_of_ties() -> None:
    assert ranks([10, 20, 20, 5]).tolist() == [2, 3.5, 3.5, 1]


def test_spearman_of_a_published_example() -> None:
    # the IQ and hours of television of Wikipedia, "Spearman's rank correlation coefficient": -29/165
    iq = [106, 100, 86, 101, 99, 103, 97, 113, 112, 110]
    hours = [7, 27, 2, 50, 28, 29, 20, 12, 6, 17]
    assert spearman(iq, hours) == pytest.approx(-29 / 165)


def test_against_scipy_with_ties() -> None:
    from scipy.stats import spearmanr

    draws = np.random.default_rng(0)
    a, b = draws.integers(0, 6, 80), draws.integers(0, 4, 80)
    assert spearman(a, b) == pytest.approx(spearmanr(a, b)[0])


def test_a_column_that_does_not_vary_has_no_correlation() -> None:
    assert pearson([1, 1, 1], [1, 2, 3]) is None and spearman([], []) is None and spearman([2.0], [1.0]) is None


def test_within_groups_the_difference_between_groups_is_gone() -> None:
    # over all prompts length and score go together, within each they go against each other
    scores, lengths, groups = [1, 2, 11, 12], [20, 10, 120, 110], ["a", "a", "b", "b"]
    assert pearson(scores, lengths) == pytest.approx(0.98, abs=0.02)
    assert correlation_within(scores, lengths, groups) == pytest.approx(-1)
    assert within_groups([1.0, 3.0, 7.0], ["a", "a", "b"]).tolist() == [-1, 1, 0]
    assert correlation_within([1, 2], [1, 2], ["a", "b"]) is None, "groups of one say nothing"


def test_the_interval_holds_the_value_and_is_wider_for_fewer_roots() -> None:
    draws = np.random.default_rng(1)
    a = draws.normal(0, 1, 240)
    b = a + draws.normal(0, 1, 240)
    value = spearman(a, b)
    many = spearman_interval(a, b, list(range(240)), seed=0, draws=300)
    few = spearman_interval(
        np.repeat(a[:12], 20), np.repeat(b[:12], 20), [n // 20 for n in range(240)], seed=0, draws=300
    )
    assert many and few and value is not None
    assert many[0] < value < many[1] and many[1] - many[0] < few[1] - few[0]
    assert spearman_interval([1, 2, 3], [1, 2, 3], [0, 1, 2], seed=0) is None
