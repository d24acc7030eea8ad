"""Shares of right, abstained and wrong answers, risk and coverage, by hand values."""

from __future__ import annotations

from typing import get_args

import pytest

from tuningfork.data.grading import Grade
from tuningfork.evals.honesty import describe, measure
from tuningfork.evals.statistics import wilson_interval

RIGHT, ABSTAINED, WRONG = get_args(Grade)
GRADES: list[Grade] = [RIGHT] * 6 + [ABSTAINED] * 2 + [WRONG] * 2


def test_shares_risk_and_scores_by_hand() -> None:
    found = measure(GRADES, [str(n) for n in range(10)], 0)
    assert (found.right.value, found.abstained.value, found.wrong.value) == (0.6, 0.2, 0.2)
    assert found.coverage == pytest.approx(0.8) and found.risk == pytest.approx(0.25)  # 2 of 8 answers are wrong
    assert [found.score(cost) for cost in (0, 1, 4)] == pytest.approx([0.6, 0.4, -0.2])
    assert found.to_json((4,))["scores"] == {"4": pytest.approx(-0.2)}


def test_rows_of_their_own_root_have_wilson_intervals() -> None:
    found = measure(GRADES, [str(n) for n in range(10)], 0)
    assert found.right.method == "wilson" and found.right.ci95 == wilson_interval(6, 10)


def test_rows_that_share_roots_have_wider_intervals_over_roots() -> None:
    grades: list[Grade] = [RIGHT] * 40 + [WRONG] * 40
    alone = measure(grades, [str(n) for n in range(80)], 0).right.ci95
    shared = measure(grades, [str(n // 10) for n in range(80)], 0).right
    assert shared.method == "cluster" and shared.ci95 is not None and alone is not None
    assert shared.ci95[1] - shared.ci95[0] > 2 * (alone[1] - alone[0])
    assert measure(grades, [str(n // 40) for n in range(80)], 0).right.ci95 is None


def test_who_answers_nothing_risks_nothing() -> None:
    found = measure([ABSTAINED] * 4, list("abcd"), 0)
    assert found.risk is None and found.coverage == 0 and found.score(4) == 0
    assert "nothing answered" in describe("x", found)


def test_no_rows_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="at least one"):
        measure([], [], 0)
