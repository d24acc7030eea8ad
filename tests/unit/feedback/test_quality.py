"""Figures of quality by hand, and how exclusion moves them."""

from __future__ import annotations

import pytest

from tuningfork.feedback import schema
from tuningfork.feedback.answers import Given
from tuningfork.feedback.quality import Share, measure


def given(item, who, best, *, purpose=schema.ORDINARY, left=0, strength=0.0, seconds=None, gold=None):
    """A judgement of a pair: `best` is 0, 1 or "tie"; answer `left` stood on the left."""
    ranking = ((0, 1),) if best == "tie" else ((best,), (1 - best,))
    known = None if gold is None else ((gold,), (1 - gold,))
    return Given(item, who, purpose, 0.0, (left, 1 - left), ranking, strength, seconds, known)


ANSWERS = [
    given("a", "anna", 0, left=0, strength=3.0), given("a", "ben", 1, left=0, strength=2.0),
    given("b", "anna", 1, left=0), given("b", "ben", 1, left=1),
    given("c", "anna", "tie"), given("c", "ben", 0, left=1, strength=1.0), given("c", "clara", 0, left=1),
    given("d", "clara", 1, left=1),
    given("b", "anna", 0, purpose=schema.REPEAT, left=1), given("a", "anna", 0, purpose=schema.REPEAT, left=0),
    given("g", "ben", 1, purpose=schema.GOLD, gold=1), given("h", "ben", 0, purpose=schema.GOLD, gold=1),
]  # fmt: skip


def test_figures_by_hand():
    found = measure(ANSWERS)
    assert (found.judgements, found.items) == (12, 4)
    assert found.overlapping == Share(3, 4)
    assert found.repeats == Share(1, 2) and found.gold == Share(1, 2)
    raw, alpha, ordinal, *_ = found.agreement
    # a: 0 of 1 pair, b: 1 of 1, c: tie 0 0 has 1 of 3 pairs
    assert raw.value == pytest.approx((0 + 1 + 1 / 3) / 3)
    assert alpha.num_items == 3 and ordinal.num_ratings == 7
    anna, ben, clara = found.annotators
    assert anna.agreement == Share(1, 4) and ben.agreement == Share(2, 4) and clara.agreement == Share(1, 2)
    assert anna.ties == Share(1, 5) and anna.left == Share(2, 4)
    assert clara.gold.value is None and clara.gold.ci95 is None and clara.pace is None


def test_disagreements_unsettled_first_then_the_widest():
    found = measure([*ANSWERS, given("e", "anna", 0), given("e", "ben", 1)]).disagreements
    assert [one.item for one in found] == ["a", "e", "c"]
    assert found[0].spread == 5.0  # 3 for the first, 2 for the second
    assert found[0].leader is None and found[2].leader == 0
    assert found[2].votes[0] == ("anna", "tie", 0.0)


def test_an_excluded_annotator_leaves_the_figures_and_stays_in_the_list():
    found = measure(ANSWERS, excluded={"ben"}, kinds={"clara": "simulated"})
    assert found.overlapping == Share(1, 4) and found.gold == Share(0, 0)
    assert [(one.name, one.is_excluded) for one in found.annotators] == [
        ("anna", False),
        ("ben", True),
        ("clara", False),
    ]
    assert found.annotators[1].judgements == 5 and found.annotators[2].kind == "simulated"


def test_pace():
    seconds = [9, 8, 7, 6, 5, 4, 3, 2, 1]
    answers = [given(f"i{n}", "anna", n % 2, seconds=float(s)) for n, s in enumerate(seconds)]
    answers += [given(f"i{n}", "ben", 0) for n in range(9)]
    pace = measure(answers).annotators[0].pace
    assert pace is not None and pace.quartiles == (2.5, 5.0, 7.5)
    assert (pace.first_third, pace.last_third) == (8.0, 2.0)
    # ben always says 0, anna at even places: of the five faster ones (places 4 to 8) three, of the slower four two
    assert pace.fast_agree == Share(3, 5) and pace.slow_agree == Share(2, 4)


def test_kappa_of_two_needs_items_in_common():
    answers = [given(f"i{n}", who, (n + (who == "ben" and n == 0)) % 2) for n in range(12) for who in ("anna", "ben")]
    between = measure(answers).between
    assert list(between) == [("anna", "ben")]
    # 11 of 12 agree; anna 6 and 6, ben 5 and 7: expected (6 * 5 + 6 * 7) / 144 = 1/2
    assert between["anna", "ben"].value == pytest.approx((11 / 12 - 0.5) / 0.5)
    assert measure(answers[:18]).between == {}


def test_nothing_yet():
    empty = measure([])
    assert empty.judgements == 0 and empty.annotators == () and empty.overlapping.value is None
    assert all(one.value != one.value and one.reason for one in empty.agreement)
