"""Measures of texts against numbers counted by hand."""

import pytest

from tuningfork.evals import text


def test_distinct_counts_over_all_texts_together():
    # pairs: (a b) (b a) (a b) and (a b): 2 different of 4
    assert text.distinct([list("abab"), list("ab")], 2) == 0.5
    assert text.distinct([["a"]], 2) == 0.0


def test_repetition():
    # abc bca cab abc: 1 of 4 was there before
    assert text.repetition(list("abcabc")) == 0.25
    assert text.repetition(list("ab")) == 0.0


def test_lengths():
    found = text.lengths([[1], [1, 2], [1, 2, 3, 4, 5, 6]])
    assert (found.mean, found.median, found.longest) == (3.0, 2.0, 6)
    assert found.p95 == pytest.approx(5.6)
    with pytest.raises(ValueError):
        text.lengths([])


def test_eos_rate_looks_at_the_last_token_only():
    assert text.eos_rate([[5, 2], [2, 5], [], [3]], stop_ids=[2, 3]) == 0.5
    with pytest.raises(ValueError):
        text.eos_rate([], [2])


def test_words():
    assert text.words("It IS\nred.") == ["it", "is", "red."]
