"""Win rates: both orders, ties, a judge who changes their mind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from tuningfork.errors import RecipeError
from tuningfork.evals.gold import Answer, GoldMeasure
from tuningfork.evals.win_rate import GoldPairs, RaterPairs, count, win_rate

ROWS = [{"id": str(n), "root": str(n)} for n in range(8)]


def answers(*texts: str) -> list[Answer]:
    return [Answer(text, True) for text in texts]


def test_counts_by_hand() -> None:
    # b is what came after; the third pair is a tie in both orders, the fourth only by changing one's mind
    found = count(["b", "a", "tie", "b"], ["a", "b", "tie", "b"], ["0", "1", "2", "3"], 0)
    assert (found.wins, found.losses, found.ties, found.inconsistent) == (1, 1, 2, 1)
    assert found.rate == pytest.approx((1 + 0 + 0.5 + 0.5) / 4)
    assert found.ci95 is None, "four roots make no interval"


def test_a_tie_by_one_order_alone_is_a_tie() -> None:
    found = count(["b"], ["tie"], ["0"], 0)
    assert (found.wins, found.ties, found.inconsistent) == (0, 1, 1)


def test_a_judge_who_takes_whatever_comes_first_says_nothing() -> None:
    class First:
        def choose(self, rows: Sequence[Any], first: Any, second: Any) -> list[Any]:
            return ["a"] * len(rows)

    found = win_rate(First(), ROWS, answers(*"abcdefgh"), answers(*"ABCDEFGH"), 0)
    assert found.rate == 0.5 and found.ties == found.inconsistent == 8 and found.ci95 == (0.5, 0.5)


def test_gold_pairs_go_by_the_good_side_of_a_measure() -> None:
    class Length:
        measures = ()

        def judge(self, rows: Any, found: Sequence[Answer]) -> list[dict[str, float]]:
            return [{"length": float(len(answer.text))} for answer in found]

    before, after = answers(*["aa"] * 8), answers(*["aaa"] * 5, "aa", "a", "a")
    longer: Any = GoldPairs(Length(), GoldMeasure("length", "headline", "higher", ""))  # pyright: ignore[reportArgumentType]
    shorter: Any = GoldPairs(Length(), GoldMeasure("length", "headline", "lower", ""))  # pyright: ignore[reportArgumentType]
    found, turned = (win_rate(judge, ROWS, before, after, 0) for judge in (longer, shorter))
    assert (found.wins, found.ties, found.losses, found.inconsistent) == (5, 1, 2, 0)
    assert found.rate == pytest.approx(5.5 / 8) and turned.rate == pytest.approx(1 - 5.5 / 8)
    assert found.ci95 is not None and found.ci95[0] < found.rate < found.ci95[1]


def test_a_world_without_raters_is_refused(tmp_path: Any) -> None:
    with pytest.raises(RecipeError, match="no world with raters"):
        RaterPairs("sentiment", tmp_path, 0, 0.1)
