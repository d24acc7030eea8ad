"""Novelty of texts by ROUGE-L (Lin 2004, "ROUGE: A Package for Automatic Evaluation of Summaries"), fast enough for a pool.

ROUGE-L is the F1 of the longest common subsequence of words: 2 L / (m + n) for texts of m and n words. Words are runs of
lower-case letters and digits. L comes from bit vectors (Hyyro 2004, "Bit-parallel LCS-length computation revisited"): one
integer operation a word.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence

_WORD = re.compile(r"[^\W_]+")


def words_of(text: str) -> list[str]:
    """Lower-case words of a text, without punctuation."""
    return _WORD.findall(text.lower())


def lcs_length(first: Sequence[str], second: Sequence[str]) -> int:
    """Length of the longest common subsequence."""
    return _lcs(_positions(first), len(first), second)


def rouge_l(first: str, second: str) -> float:
    """ROUGE-L F1 of two texts, 0 to 1; 0 where one has no words."""
    a, b = words_of(first), words_of(second)
    return 2 * lcs_length(a, b) / (len(a) + len(b)) if a and b else 0.0


class NoveltyFilter:
    """A growing pool of texts that answers: is one at least `threshold` similar to a new text?

    A text of m words that reaches threshold t has a subsequence of at least t m / (2 - t) words in common with it. So it holds
    one of the other, rarest words, and only texts that do are compared (prefix filter, Bayardo et al. 2007).
    """

    def __init__(self, threshold: float = 0.7) -> None:
        self.threshold = threshold
        self._texts: list[str] = []
        self._words: list[list[str]] = []
        self._where: dict[str, list[int]] = defaultdict(list)

    def add(self, text: str) -> None:
        """Take a text into the pool."""
        words = words_of(text)
        for word in set(words):
            self._where[word].append(len(self._words))
        self._texts.append(text)
        self._words.append(words)

    def most_similar(self, text: str) -> tuple[str, float] | None:
        """The most similar text of the pool and its ROUGE-L, where that reaches the threshold; else None."""
        words = words_of(text)
        least = math.ceil(self.threshold * len(words) / (2 - self.threshold) - 1e-9)
        rarest = sorted(words, key=lambda word: len(self._where.get(word, ())))[: len(words) - least + 1]
        positions, best = _positions(words), None
        for number in sorted({number for word in set(rarest) for number in self._where.get(word, ())}):
            other = self._words[number]
            total, wanted = len(words) + len(other), max(self.threshold, best[1] if best else 0.0)
            if 2 * min(len(words), len(other)) < wanted * total:
                continue
            score = 2 * _lcs(positions, len(words), other) / total
            if score >= self.threshold and (best is None or score > best[1]):
                best = self._texts[number], score
        return best


def _positions(words: Sequence[str]) -> dict[str, int]:
    """For each word the bits of its places."""
    found: dict[str, int] = defaultdict(int)
    for place, word in enumerate(words):
        found[word] |= 1 << place
    return found


def _lcs(positions: Mapping[str, int], length: int, second: Sequence[str]) -> int:
    all_ones = (1 << length) - 1
    row = all_ones
    for word in second:
        matches = row & positions.get(word, 0)
        row = ((row + matches) | (row - matches)) & all_ones
    return length - row.bit_count()
