"""Exact and near duplicates."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tuningfork.data.duplicates import fingerprint, jaccard, near_pairs, repeats
from tuningfork.randomness import numpy_generator


def words(seed: int, count: int = 60) -> list[str]:
    return [f"w{n}" for n in numpy_generator(seed, "words").integers(0, 5000, count)]


def test_equal_but_for_case_and_white_space() -> None:
    assert repeats(["A b", "c", "a  B\n", "", "", "c "]) == [2, 5]
    assert fingerprint("A\tb") == fingerprint(" a B ") != fingerprint("ab")


def test_near_pairs_are_found_and_others_are_not() -> None:
    base = words(0)
    nearly = [*base[:-1], "other"]
    half = [*base[:30], *words(1)[:30]]
    texts = [" ".join(text) for text in (base, words(2), nearly, half, base, words(3))]
    assert near_pairs(texts) == [(0, 2), (2, 4)], "0 and 4 are equal, which is another finding"
    assert near_pairs(["short text", "short text too"]) == near_pairs([]) == []


def test_similar_pairs_are_rarely_missed() -> None:
    """A pair of similarity .9 is missed with a probability of (1 - .9^4)^16 = 2e-8."""
    texts = []
    for seed in range(100):
        base = words(seed, 80)
        texts += [" ".join(base), " ".join([*base[:-2], "end", "here"])]
    assert near_pairs(texts) == [(2 * n, 2 * n + 1) for n in range(100)]


@given(st.sets(st.integers(0, 20)), st.sets(st.integers(0, 20)))
def test_jaccard(a: set[int], b: set[int]) -> None:
    assert jaccard(a, b) == jaccard(b, a) and 0 <= jaccard(a, b) <= 1
    assert jaccard(a, a) == (1.0 if a else 0.0)
    assert jaccard({1, 2, 3}, {2, 3, 4}) == 0.5
