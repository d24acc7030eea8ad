"""Curves over KL: interpolation against numbers by hand, and fits that find planted laws again."""

from __future__ import annotations

import math

import pytest

from tuningfork.evals.curves import fit, value_at
from tuningfork.randomness import numpy_generator


def test_equal_kl_is_read_between_two_looks() -> None:
    curve = [(0.0, 0.1), (1.0, 0.5), (3.0, 0.7)]
    assert value_at(curve, 0.5) == pytest.approx(0.3)  # half of the way from 0.1 to 0.5
    assert value_at(curve, 1.5) == pytest.approx(0.55)  # a quarter of the way from 0.5 to 0.7
    assert value_at(curve, 1.0) == pytest.approx(0.5)
    assert value_at(curve, 3.0) == pytest.approx(0.7)


def test_a_curve_that_never_gets_there_says_so() -> None:
    assert value_at([(0.0, 0.1), (0.9, 0.5)], 1.0) is None
    assert value_at([], 1.0) is None


def test_the_first_crossing_counts_where_kl_goes_back() -> None:
    curve = [(0.0, 0.0), (2.0, 0.4), (0.5, 0.9), (2.0, 0.8)]
    assert value_at(curve, 1.0) == pytest.approx(0.2)


@pytest.mark.parametrize(("form", "a", "b"), [("best of n", 0.8, 0.2), ("reinforcement learning", 0.5, 0.15)])
def test_planted_laws_are_found_again(form: str, a: float, b: float) -> None:
    kls = [0.05, 0.3, 1.0, 2.5, 5.0, 8.0]

    def law(d: float) -> float:
        return d * (a - b * (d if form == "best of n" else math.log(d)))

    found = fit([(0.0, 0.0), *((kl, law(math.sqrt(kl))) for kl in kls)], form)  # pyright: ignore[reportArgumentType]
    assert found is not None and found.num_points == 6
    assert (found.a, found.b) == (pytest.approx(a, abs=1e-9), pytest.approx(b, abs=1e-9))
    assert found.r_squared == pytest.approx(1.0)
    assert found.gain(1.7) == pytest.approx(law(1.7))
    draws = numpy_generator(0, "noise").normal(0, 0.01, 60)
    noisy = fit([(k, law(math.sqrt(k)) + e) for k, e in zip(kls * 10, draws, strict=True)], form)  # pyright: ignore[reportArgumentType]
    assert noisy is not None and noisy.a == pytest.approx(a, abs=0.02) and noisy.b == pytest.approx(b, abs=0.02)


def test_peaks_by_the_papers_formulas() -> None:
    best = fit([(d * d, d * (0.8 - 0.2 * d)) for d in (0.5, 1.0, 2.0)], "best of n")
    assert best is not None and best.peak == pytest.approx((4.0, 0.8))  # d* = 0.8 / 0.4 = 2, R* = 0.64 / 0.8
    rl = fit([(d * d, d * (0.3 - 0.3 * math.log(d))) for d in (0.5, 1.0, 2.0)], "reinforcement learning")
    assert rl is not None and rl.peak == pytest.approx((1.0, 0.3))  # log d* = 1 - 1 = 0, R* = 0.3
    for found in (best, rl):
        at, top = found.peak or (0.0, 0.0)
        assert found.gain(math.sqrt(at)) == pytest.approx(top)
        assert found.gain(math.sqrt(at) * 1.1) < top > found.gain(math.sqrt(at) * 0.9)


def test_no_peak_and_no_fit() -> None:
    rising = fit([(d * d, d * (0.1 + 0.2 * d)) for d in (0.5, 1.0, 2.0)], "best of n")
    assert rising is not None and rising.b < 0 and rising.peak is None
    assert fit([(0.0, 0.0), (1.0, 0.1), (2.0, 0.2)], "best of n") is None, "two points make no law of two numbers"
    assert rising.gain(0.0) == 0.0
