"""Careless annotators are found among attentive ones, and attentive ones are left alone."""

from __future__ import annotations

import math
from itertools import groupby, product

import pytest
from planted import alternating, careful, hasty, lazy, leaning, lefty, project, random, reversed_

from tuningfork.feedback.careless import at_most, binomial, find_careless, runs_test, tally, weighted_at_most

ATTENTIVE = {f"careful {number}": careful for number in range(5)}


def alarms(habits, seed, **more):
    """Who gives an alarm, with the names of the tests that do."""
    found = find_careless(project(habits, seed, **more))
    return {
        name: {test.name for test in tests if test.is_alarm}
        for name, tests in found.items()
        if any(t.is_alarm for t in tests)
    }


@pytest.mark.parametrize(
    ("habit", "test"),
    [(lefty, "side"), (alternating, "pattern"), (hasty, "speed"), (lazy, "ties"), (reversed_, "attention")],
)
def test_a_planted_annotator_is_found_by_the_test_that_is_meant(habit, test):
    found = [alarms(ATTENTIVE | {"planted": habit}, seed, each=100) for seed in range(3)]
    assert all(test in one.get("planted", ()) for one in found), found
    assert sum(len(one) - 1 for one in found) <= 1  # of 15 attentive annotators


def test_guessing_and_leaning_need_more_answers():
    # a guesser has half of 60 known answers right where the others have 4 in 5; a leaning one chooses the left in 7 of 10
    found = [alarms(ATTENTIVE | {"guess": random, "lean": leaning}, seed, each=300, gold=0.2) for seed in range(3)]
    assert sum("attention" in one.get("guess", ()) for one in found) >= 2, found  # a lucky guesser passes
    assert sum("side" in one.get("lean", ()) for one in found) == 3, found
    assert {name for one in found for name in one} == {"guess", "lean"}


def test_two_who_guess_do_not_excuse_each_other():
    habits = ATTENTIVE | {"guess 1": random, "guess 2": random, "left": lefty}
    assert set(alarms(habits, 1, each=300, gold=0.2)) == {"guess 1", "guess 2", "left"}


def test_false_alarms_among_attentive_annotators_are_rare():
    assert sum(bool(alarms({f"a{number}": careful for number in range(6)}, seed, each=60)) for seed in range(10)) <= 1


def test_one_annotator_alone_is_tested_for_side_and_pattern_only():
    found = find_careless(project({"alone": careful}, 0, each=60))
    assert {test.name for test in found["alone"]} == {"side", "pattern"}
    assert find_careless([]) == {}


def test_counts():
    answers = project(ATTENTIVE, 5, each=40)
    counts = tally(answers)
    assert sum(count.ties[1] for count in counts.values()) == len(answers)
    one, two = (
        a
        for a in answers
        if a.item
        == next(b.item for b in answers if sum(c.item == b.item and c.purpose == "ordinary" for c in answers) == 2)
        and a.purpose == "ordinary"
    )
    assert counts[one.annotator].agreement[1] >= 1 and counts[two.annotator].agreement[1] >= 1
    total = sum(count.agreement[1] for count in counts.values())
    assert total % 2 == 0 and tally(answers, suspects=list(ATTENTIVE))[one.annotator].agreement == (0, 0)


def test_binomial_by_hand():
    # two of three at 1/2: 3 / 8; at most one: (1 + 3) / 8
    assert binomial(3, 0.5) == pytest.approx([1 / 8, 3 / 8, 3 / 8, 1 / 8])
    assert at_most(1, 3, 0.5) == pytest.approx(0.5) and at_most(3, 3, 0.2) == 1.0
    assert at_most(0, 5, 1.0) == 0.0 and at_most(5, 5, 1.0) == 1.0 and at_most(0, 5, 0.0) == 1.0
    assert at_most(2, 400, 0.5) < 1e-100


def test_weighted_hits_by_enumeration():
    # two known answers of chance .8 that count 3, two repeats of chance .7 that count 1
    chance = 0.0
    for a, b, c, d in product((0, 1), repeat=4):
        p = math.prod(q if hit else 1 - q for hit, q in ((a, 0.8), (b, 0.8), (c, 0.7), (d, 0.7)))
        chance += p * (3 * (a + b) + c + d <= 3 * 1 + 1)
    assert weighted_at_most([(1, 2, 0.8, 3), (1, 2, 0.7, 1)]) == pytest.approx(chance)


def test_runs_by_hand():
    # LRLRLRLRLR: 10 runs of 5 and 5; expected 1 + 50 / 10 = 6, variance 5 * 4 / 9; z = (4 - .5) / 1.4907 = 2.348
    places = [0, 1] * 5
    assert len(list(groupby(places))) == 10
    assert runs_test(places) == pytest.approx(math.erfc(3.5 / math.sqrt(20 / 9) / math.sqrt(2)))
    assert runs_test([0, 0, 1, 0, 1, 1, 0, 1, 1, 0]) > 0.5
