"""Accuracy of scores on comparisons, in slices, against others; rules of length, words and raters."""

from __future__ import annotations

import numpy as np
import pytest

from tuningfork.evals.accuracy import accuracy, by_name, by_quarter, gain, hits
from tuningfork.evals.baselines import length_rule, tfidf_scores
from tuningfork.evals.ceiling import rater_agreement
from tuningfork.evals.feedback import Compared


def test_ties_count_half() -> None:
    comparisons = [Compared(0, 1), Compared(1, 0), Compared(2, 0)]
    assert hits([1.0, 0.0, 1.0], comparisons).tolist() == [1.0, 0.0, 0.5]


def test_both_intervals() -> None:
    # Wilson's for 8 of 10 (Newcombe 1998 has 0.4902 to 0.9433); one over ten roots; none over two
    right = np.array([1.0] * 8 + [0.0] * 2)
    found = accuracy("all", right, list("abcdefghij"), seed=0)
    assert found.share == 0.8 and found.ci95 == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert found.ci95_roots is not None and found.ci95_roots[0] < 0.8 < found.ci95_roots[1] + 1e-9
    assert accuracy("all", right, list("aaaaabbbbb"), seed=0).ci95_roots is None


def test_quarters_hold_equally_many_and_every_comparison_once() -> None:
    values = np.arange(80.0)
    right = (values >= 40).astype(float)
    found = by_quarter(right, values, ["r"] * 80, seed=0, name=lambda a, b: f"{a:.0f}-{b:.0f}")
    assert [(one.n, one.share) for one in found] == [(20, 0.0), (20, 0.0), (20, 1.0), (20, 1.0)]
    assert by_quarter(right, np.zeros(80), ["r"] * 80, seed=0, name=lambda a, b: "") == []


def test_names_the_commonest_first_and_the_rare_left_out() -> None:
    names = ["a"] * 10 + ["b"] * 20 + ["c"] * 3
    found = by_name(np.ones(33), names, ["r"] * 33, seed=0)
    assert [(one.name, one.n) for one in found] == [("b", 20), ("a", 10)]
    assert by_name(np.ones(5), ["a"] * 5, ["r"] * 5, seed=0) == []


def test_gain_is_paired() -> None:
    first, second = np.array([1.0, 0.0] * 20), np.array([1.0, 1.0] * 20)
    found = gain(first, second, [str(n // 2) for n in range(40)], seed=0)
    assert found["difference"] == 0.5 and found["ci95"] == [0.5, 0.5] and found["p"] < 0.01


def test_the_rule_of_length_is_learnt_from_what_is_trained_on() -> None:
    assert length_rule([("", "long one", "x"), ("", "longer", "y"), ("", "z", "zz")], None) == ("longer", 1)
    assert length_rule([("", "x", "long one")], None) == ("shorter", -1)
    assert length_rule([("", "short", ""), ("", "a long text", "")], [1.0, -1.0]) == ("shorter", -1)


@pytest.mark.parametrize("form", ["pairs", "classes", "ratings"])
def test_a_model_of_words_finds_the_word_that_counts(form: str) -> None:
    words = [("q", f"it is red {n}", f"it is blue {n}") for n in range(30)]
    values = None
    if form != "pairs":
        words = [("", text, "") for _, good, bad in words for text in (good, bad)]
        values = [1.0, 0.0] * 30 if form == "classes" else [3.5, -1.0] * 30
    red, blue, unknown = tfidf_scores(words, values, ["so red", "so blue", "zzz"], seed=0)
    assert red > 0 > blue or red > unknown > blue
    assert tfidf_scores([("", "a", "b")], None, ["a"], seed=0) == [0.0], "no word occurs twice"


def test_raters_agree_as_far_as_they_judged_the_same() -> None:
    judged = [
        Compared(0, 1, rater="a"),
        Compared(0, 1, rater="b"),
        Compared(1, 0, rater="c"),
        Compared(2, 3, rater="a"),
    ]
    found = rater_agreement(judged)
    assert found is not None and found.n == 3 and found.agreement == pytest.approx(1 / 3)
    assert rater_agreement(judged[:1]) is None
