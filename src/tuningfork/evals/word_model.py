"""A trigram model of words with interpolation: how usual a text's language is, judged by texts of other people.

Witten-Bell smoothing (Chen and Goodman 1998, section 2.5): the weight of a longer context grows with how often it was seen
and falls with how many different words followed it. The last resort is every word alike, unknown ones included.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from tuningfork.evals.text import ngrams

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*|[.,;:!?£]")
_START, _END = "<s>", "</s>"


class WordModel:
    """Probabilities of words after the two before them."""

    def __init__(self, texts: Iterable[str]) -> None:
        """`texts`: what the language is learnt from, at least one with a word."""
        self._counts: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
        for text in texts:
            words = _padded(text)
            for n in (1, 2, 3):
                for gram in ngrams(words, n):
                    *context, word = map(str, gram)
                    if word != _START:
                        self._counts[tuple(context)][word] += 1
        self._size = len(self._counts[()]) + 1  # one more for all unknown words

    def bits_per_word(self, text: str) -> float:
        """Mean of -log2 p(word | two before), the end of the text included."""
        words = _padded(text)
        costs = [-math.log2(self._probability(words[i - 2 : i], words[i])) for i in range(2, len(words))]
        return math.fsum(costs) / len(costs)

    def _probability(self, context: Sequence[str], word: str) -> float:
        shorter = self._probability(context[1:], word) if context else 1 / self._size
        seen = self._counts.get(tuple(context))
        if not seen:
            return shorter
        total, kinds = seen.total(), len(seen)
        return (seen[word] + kinds * shorter) / (total + kinds)


def _padded(text: str) -> list[str]:
    return [_START, _START, *(word for word in _WORD.findall(text.lower())), _END]
