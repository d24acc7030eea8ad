"""Ways of choosing what to ask: what they prefer, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tuningfork.feedback.choosing import (
    STRATEGIES,
    Pool,
    bootstrap_heads,
    choose,
    entropy,
    fit_head,
    priorities,
    probability,
)
from tuningfork.randomness import numpy_generator


def pool(margins, **more):
    return Pool(np.array(margins, dtype=float), **{name: np.array(value, dtype=float) for name, value in more.items()})


def test_uncertainty_takes_what_is_nearest_to_a_coin():
    seen = pool([3.0, -0.1, 0.5, -4.0, 0.0])
    assert choose("uncertainty", seen, 3, seed=0) == [4, 1, 2]
    assert priorities("uncertainty", seen)[4] == pytest.approx(1.0)
    # P = 1 / (1 + e^-0.5) = .6225: entropy .9562 bits
    assert priorities("uncertainty", seen)[2] == pytest.approx(0.9562, abs=1e-4)


def test_disagreement_is_about_members_that_are_sure_and_not_about_ties():
    sure, tie, agreed = [6.0, -6.0], [0.0, 0.0], [6.0, 6.0]
    seen = pool([0.0, 0.0, 6.0], member_margins=np.array([sure, tie, agreed]).T)
    bits = priorities("disagreement", seen)
    assert bits[0] == pytest.approx(1 - entropy(probability(np.array([6.0])))[0]) and bits[0] > 0.97
    assert bits[1] == pytest.approx(0, abs=1e-12) and bits[2] == pytest.approx(0, abs=1e-12)
    assert choose("disagreement", seen, 1, seed=0) == [0]


def test_diversity_goes_far_and_knows_mirror_images():
    features = [[1, 0], [-1, 0.1], [0, 1], [0.9, 0], [0, 0.95]]
    seen = pool([0.0] * 5, features=features, judged_features=[[1, 0]])
    # farthest from the judged (1, 0) is (0, 1); then the mirror image of (1, -.1), which is nearer to neither than (0, .95)?
    chosen = choose("diversity", seen, 5, seed=0)
    assert chosen[0] == 2 and chosen[-1] == 0 and sorted(chosen) == [0, 1, 2, 3, 4]
    mirrored = pool([0.0] * 5, features=[[-a, -b] for a, b in features], judged_features=[[-1, 0]])
    assert choose("diversity", mirrored, 5, seed=0) == chosen


def test_random_is_uniform_and_rounds_differ():
    seen = pool(np.zeros(10))
    counts = np.zeros(10)
    for seed in range(400):
        counts[choose("random", seen, 3, seed=seed)] += 1
    assert counts.min() > 80 and counts.max() < 165  # 120 expected, deviation 9
    assert choose("random", seen, 10, seed=1, round_number=0) != choose("random", seen, 10, seed=1, round_number=1)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_each_gives_different_pairs_and_no_more_than_there_are(strategy):
    draws = numpy_generator(0, strategy)
    seen = Pool(
        draws.normal(size=20), draws.normal(size=(4, 20)), draws.normal(size=(20, 3)), draws.normal(size=(5, 3))
    )
    chosen = choose(strategy, seen, 50, seed=3)
    assert sorted(chosen) == list(range(20)) and choose(strategy, seen, 50, seed=3) == chosen
    assert choose(strategy, seen, 7, seed=3) == chosen[:7]


def test_what_is_missing_is_said():
    with pytest.raises(ValueError, match="member_margins"):
        choose("disagreement", pool([0.0]), 1, seed=0)
    with pytest.raises(ValueError, match="features"):
        choose("diversity", pool([0.0]), 1, seed=0)
    with pytest.raises(ValueError, match="order"):
        priorities("random", pool([0.0]))


def test_entropy_and_probability_at_the_ends():
    assert entropy(np.array([0.0, 0.5, 1.0])) == pytest.approx([0, 1, 0], abs=1e-12)
    assert probability(np.array([-1000.0, 0.0, 1000.0])) == pytest.approx([0, 0.5, 1])


def test_a_head_solves_its_equation():
    # one feature, n pairs of 1: maximise n log sigmoid(w) - w^2 / 2, so n (1 - sigmoid(w)) = w
    w = fit_head(np.ones((5, 1)), ridge=1.0)[0]
    assert 5 * (1 - 1 / (1 + math.exp(-w))) == pytest.approx(w)


def test_heads_recover_the_direction_and_differ():
    draws = numpy_generator(1, "heads")
    truth = np.array([2.0, -1.0, 0.0])
    features = draws.normal(size=(400, 3))
    better = np.where(draws.random(400) < probability(features @ truth), 1, -1)
    heads = bootstrap_heads(features * better[:, None], 6, seed=0)
    assert heads.mean(0) == pytest.approx(truth, abs=0.5)
    assert (heads.std(0) > 0.02).all()
