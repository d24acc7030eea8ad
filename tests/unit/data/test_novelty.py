"""ROUGE-L by bit vectors against the table of dynamic programming, and a pool that misses nothing."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuningfork.data.novelty import NoveltyFilter, lcs_length, rouge_l, words_of

WORDS = st.lists(st.sampled_from("abcdef"), max_size=90)


def table(first: list[str], second: list[str]) -> int:
    rows = [[0] * (len(second) + 1) for _ in range(len(first) + 1)]
    for i, a in enumerate(first):
        for j, b in enumerate(second):
            rows[i + 1][j + 1] = rows[i][j] + 1 if a == b else max(rows[i][j + 1], rows[i + 1][j])
    return rows[-1][-1]


@settings(deadline=None, max_examples=60)
@given(WORDS, WORDS)
def test_longest_common_subsequence(first: list[str], second: list[str]) -> None:
    assert lcs_length(first, second) == table(first, second)


def test_worked_example() -> None:
    # Lin 2004, 3.1: "police killed the gunman" and "police kill the gunman" share "police the gunman": P = R = 3/4.
    assert rouge_l("police killed the gunman", "police kill the gunman") == pytest.approx(0.75)
    assert rouge_l("police killed the gunman", "the gunman kill police") == pytest.approx(0.5)
    # L = 2 of 3 and 5 words: 2 * 2 / 8
    assert rouge_l("a b c", "A x, y b. z") == pytest.approx(0.5)
    assert rouge_l("", "a") == 0 and words_of("Don't stop_now: Ärger!") == ["don", "t", "stop", "now", "ärger"]


def test_the_pool_finds_what_a_comparison_with_each_finds() -> None:
    draw = np.random.Generator(np.random.Philox(1))
    texts = [" ".join(draw.choice(list("abcdefgh"), size=draw.integers(1, 12))) for _ in range(150)]
    pool = NoveltyFilter(0.6)
    for number, text in enumerate(texts):
        best = max((rouge_l(text, other) for other in texts[:number]), default=0.0)
        found = pool.most_similar(text)
        assert (found[1] if found else 0.0) == pytest.approx(best if best >= 0.6 else 0.0)
        pool.add(text)


def test_a_pool_of_thousands_is_fast() -> None:
    draw = np.random.Generator(np.random.Philox(2))
    vocabulary = np.array([f"w{number}" for number in range(3000)])
    weights = 1 / np.arange(1, 3001)
    texts = [" ".join(draw.choice(vocabulary, size=15, p=weights / weights.sum())) for _ in range(800)]
    pool, started = NoveltyFilter(), time.process_time()
    for text in texts:
        pool.most_similar(text)
        pool.add(text)
    assert time.process_time() - started < 2
