"""Calibration against published worked examples, the temperature against a grid, folding, cross-fitting."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from tuningfork.evals.calibration import (
    brier_score,
    calibration,
    cross_fitted,
    expected_calibration_error,
    fit_temperature,
    reliability,
    sigmoid,
)


def test_reliability_curve_of_scikit_learns_documentation() -> None:
    # sklearn.calibration.calibration_curve, section "Examples" (scikit-learn 1.7)
    outcomes, probabilities = [0, 0, 0, 0, 1, 1, 1, 1, 1], [0.1, 0.2, 0.3, 0.4, 0.65, 0.7, 0.8, 0.9, 1.0]
    bins = reliability(probabilities, outcomes, bins=3)
    assert [one.frequency for one in bins] == pytest.approx([0.0, 0.5, 1.0])
    assert [one.confidence for one in bins] == pytest.approx([0.2, 0.525, 0.85])


def test_calibration_error_of_torchmetrics_documentation() -> None:
    # torchmetrics BinaryCalibrationError(n_bins=2, norm="l1"), section "Examples": 0.2900
    bins = reliability([0.25, 0.25, 0.55, 0.75, 0.75], [0, 0, 1, 1, 1], bins=2)
    # by hand: 2/5 |0 - 0.25| + 3/5 |1 - 2.05/3| = 0.1 + 0.19
    assert expected_calibration_error(bins) == pytest.approx(0.29)


def test_brier_score_of_scikit_learns_documentation() -> None:
    # sklearn.metrics.brier_score_loss, section "Examples" (scikit-learn 1.7)
    assert brier_score([0.1, 0.9, 0.8, 0.3], [0, 1, 1, 0]) == pytest.approx(0.0375)


def test_an_edge_belongs_to_the_bin_below_and_the_lowest_to_the_first() -> None:
    bins = reliability([0.0, 0.5, 0.5 + 1e-9, 1.0], [0, 1, 1, 1], bins=2)
    assert [(one.count, one.low, one.high) for one in bins] == [(2, 0.0, 0.5), (2, 0.5, 1.0)]


def test_folded_by_hand() -> None:
    # log 3 and -log 3: both are said with p = 3/4, one is right: frequency 1/2
    found = calibration([math.log(3.0), -math.log(3.0)])
    assert [(one.count, one.confidence, one.frequency) for one in found.bins] == [(2, pytest.approx(0.75), 0.5)]
    assert found.ece == pytest.approx(0.25)
    assert found.brier == pytest.approx((0.25**2 + 0.75**2) / 2)
    assert found.log_loss == pytest.approx(-(math.log(0.75) + math.log(0.25)) / 2)
    # a temperature of 2 makes p = sqrt(3) / (1 + sqrt(3))
    assert calibration([math.log(3.0)], 2.0).bins[0].confidence == pytest.approx(math.sqrt(3) / (1 + math.sqrt(3)))


def test_turning_a_comparison_round_changes_nothing_about_its_side() -> None:
    draws = random.Random(0)
    d = [draws.gauss(0.3, 1) for _ in range(50)]
    both = calibration([*d, *d])
    assert both.ece == pytest.approx(calibration(d).ece) and both.brier == pytest.approx(calibration(d).brier)


@pytest.mark.parametrize("true", [0.5, 1.0, 3.0])
def test_the_temperature_is_the_grids_best_and_near_the_truth(true: float) -> None:
    draws = np.random.default_rng(1)
    logits = np.abs(draws.normal(0, 2, 20_000))
    signs = np.where(draws.random(20_000) < sigmoid(logits / true), 1, -1)
    d = logits * signs
    found = fit_temperature(d)
    assert found is not None and found == pytest.approx(true, rel=0.06)
    grid = np.linspace(0.8, 1.2, 17) * found
    losses = [float(np.logaddexp(0, -d / t).mean()) for t in grid]
    assert np.argmin(losses) == 8
    assert calibration(d, found).ece < 0.02


def test_no_temperature_where_better_answers_score_no_higher() -> None:
    assert fit_temperature([-1.0, 0.5]) is None and fit_temperature([0.0, 0.0]) is None
    certain = fit_temperature([1.0, 2.0, 3.0])
    assert certain is not None and 0 < certain < 0.1, "every order is right: the surer, the likelier"


def test_cross_fitting_uses_the_other_half_of_the_roots() -> None:
    draws = np.random.default_rng(2)
    d, roots = draws.normal(0.5, 1, 200), [f"root {n % 40}" for n in range(200)]
    fitted = cross_fitted(d, roots, seed=0)
    assert fitted is not None
    ratio = np.round(fitted / d, 9)
    assert len(set(ratio.tolist())) == 2
    by_root = {root: {r for r, name in zip(ratio.tolist(), roots, strict=True) if name == root} for root in set(roots)}
    assert all(len(found) == 1 for found in by_root.values()), "a root is on one side"
    for value in set(ratio.tolist()):
        other = d[ratio != value]
        assert 1 / value == pytest.approx(fit_temperature(other), rel=1e-6)
    assert cross_fitted([1.0], ["only"], seed=0) is None
    assert calibration([1e6, -1e6]).log_loss == pytest.approx(5e5), (
        "log(1 + e^1e6) is 1e6, and the sure one costs nothing"
    )
