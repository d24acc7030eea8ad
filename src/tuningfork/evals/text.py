"""Measures of texts by themselves: variety, length, repetition, whether they end. Pure functions of tokens or ids."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

Tokens = Sequence[Hashable]


@dataclass(frozen=True)
class Lengths:
    """Lengths of a set of texts, in tokens."""

    mean: float
    median: float
    p95: float
    longest: int


def words(text: str) -> list[str]:
    """Lower-case words of a text, split at white space."""
    return text.lower().split()


def ngrams(tokens: Tokens, n: int) -> list[tuple[Hashable, ...]]:
    """All runs of n tokens; empty where the text is shorter."""
    return [tuple(tokens[start : start + n]) for start in range(len(tokens) - n + 1)]


def distinct(texts: Sequence[Tokens], n: int) -> float:
    """Different n-grams over all n-grams of all texts together (Li et al. 2016, 1510.03055); 0 where there are none.

    It falls with the amount of text by itself: compare only equal numbers of texts.
    """
    counts = Counter(gram for tokens in texts for gram in ngrams(tokens, n))
    return len(counts) / counts.total() if counts else 0.0


def repetition(tokens: Tokens, n: int = 3) -> float:
    """Share of a text's n-grams that occurred in it before; 0 for texts too short to repeat one."""
    grams = ngrams(tokens, n)
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def lengths(texts: Sequence[Tokens]) -> Lengths:
    """Length statistics of at least one text."""
    if not texts:
        raise ValueError("lengths needs at least one text")
    sizes = np.array([len(tokens) for tokens in texts])
    return Lengths(float(sizes.mean()), float(np.median(sizes)), float(np.quantile(sizes, 0.95)), int(sizes.max()))


def eos_rate(responses: Sequence[Sequence[int]], stop_ids: Sequence[int]) -> float:
    """Share of responses (token ids) that end with a stop token instead of running into the length limit."""
    if not responses:
        raise ValueError("eos_rate needs at least one response")
    stops = set(stop_ids)
    return sum(bool(ids) and ids[-1] in stops for ids in responses) / len(responses)
