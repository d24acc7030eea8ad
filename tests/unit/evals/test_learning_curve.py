"""The curve of accuracy over labels: exact where it can be, honest where it cannot."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tuningfork.evals.learning_curve import Curve, describe, fit_curve, outlook
from tuningfork.randomness import numpy_generator

LABELS = [100, 200, 400, 800]


def hits_of(curve, labels, roots=400, each=2, seed=0):
    """Hits of held-out pairs whose difficulty is their root's, so that rounds are paired."""
    difficulty = np.repeat(numpy_generator(seed, "roots").random(roots), each)
    hits = [(difficulty < curve.at(n)).astype(float).tolist() for n in labels]
    return hits, [index // each for index in range(roots * each)]


def test_a_power_law_is_found_again():
    true = Curve(0.9, 3.0, 0.6)
    found = fit_curve(LABELS, [true.at(n) for n in LABELS])
    assert (found.limit, found.scale, found.exponent) == pytest.approx((0.9, 3.0, 0.6), rel=1e-6)
    # 0.9 - 3 n^-0.6 = 0.85: n = 60^(1 / 0.6) = 919.6
    assert found.labels_for(0.85) == pytest.approx(60 ** (1 / 0.6), rel=1e-5)
    assert found.labels_for(0.9) == math.inf


def test_a_curve_that_does_not_rise_is_flat():
    found = fit_curve(LABELS, [0.8, 0.78, 0.77, 0.75])
    assert found.scale == 0 and found.at(10_000) == pytest.approx(0.775)
    assert found.labels_for(0.8) == math.inf and found.labels_for(0.7) == math.inf


def test_the_limit_is_no_more_than_one():
    found = fit_curve(LABELS, [0.6, 0.7, 0.82, 0.99])
    assert found.limit <= 1.0 and found.scale > 0


def test_outlook_by_hand():
    true = Curve(0.95, 4.0, 0.7)
    hits, roots = hits_of(true, LABELS, roots=4000, each=1)
    found = outlook(LABELS, hits, roots, next_labels=400)
    assert found.last_gain is not None and found.next_gain is not None and found.labels_a_point is not None
    assert found.accuracy.value == pytest.approx(true.at(800), abs=0.02)
    assert found.last_gain.value == pytest.approx(true.at(800) - true.at(400), abs=0.01)
    assert found.next_gain.value == pytest.approx(true.at(1200) - true.at(800), abs=0.01)
    needed = true.labels_for(true.at(800) + 0.01) - 800
    assert found.labels_a_point.ci95 is not None
    assert found.labels_a_point.ci95[0] <= needed <= found.labels_a_point.ci95[1]
    text = describe(found)
    assert "800 labels" in text and "the last 400 bought +" in text and "400 more would buy +" in text
    assert "one more point takes" in text


def test_intervals_cover_what_the_held_out_set_leaves_open():
    true, covered = Curve(0.9, 2.0, 0.5), 0
    for seed in range(100):
        hits, roots = hits_of(true, LABELS, roots=120, each=2, seed=seed)
        last = outlook(LABELS, hits, roots, next_labels=100, draws=200, seed=seed).last_gain
        assert last is not None and last.ci95 is not None
        covered += last.ci95[0] <= true.at(800) - true.at(400) <= last.ci95[1]
    assert covered >= 88


def test_few_rounds_say_nothing_about_more_and_few_roots_have_no_interval():
    hits, roots = hits_of(Curve(0.9, 2.0, 0.5), LABELS[:3], roots=5)
    found = outlook(LABELS[:3], hits, roots, next_labels=100)
    assert found.next_gain is None and found.labels_a_point is None
    assert found.accuracy.ci95 is None and "4 rounds are needed" in describe(found)
    first = outlook([100], hits[:1], roots, next_labels=100)
    assert first.last_gain is None and first.last_labels == 100


def test_a_flat_curve_costs_any_number_of_labels():
    hits = [[1.0, 1.0, 0.0, 1.0] * 10] * 4
    found = outlook(LABELS, hits, list(range(40)), next_labels=100)
    assert found.next_gain is not None and found.next_gain.value == 0
    assert found.labels_a_point is not None and found.labels_a_point.value == math.inf
    assert "beyond the curve, which ends at 0.750" in describe(found)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="rising"):
        outlook([100, 100], [[1.0], [1.0]], ["a"], next_labels=1)
    with pytest.raises(ValueError, match="one column"):
        outlook([100], [[1.0, 0.0]], ["a"], next_labels=1)
