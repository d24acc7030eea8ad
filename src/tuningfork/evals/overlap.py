"""Overlap of a text with texts that people wrote for the same purpose: BLEU and ROUGE. All are between 0 and 1.

BLEU is that of sacrebleu (Papineni et al. 2002; Post 2018, 1804.08771). ROUGE is computed here, from Lin 2004, "ROUGE: A
Package for Automatic Evaluation of Summaries"; words are runs of lower-case letters and digits, without stemming.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tuningfork.data.novelty import lcs_length, words_of
from tuningfork.evals.text import ngrams

if TYPE_CHECKING:
    from sacrebleu.metrics.bleu import BLEU

RougeKind = Literal["rouge_1", "rouge_2", "rouge_l", "rouge_lsum"]
Tokenizer = Literal["13a", "char", "intl", "zh", "none"]


@dataclass(frozen=True)
class Bleu:
    """BLEU and what it is made of: clipped n-gram precisions for n = 1 to 4, and the brevity penalty."""

    score: float
    precisions: tuple[float, ...]
    brevity_penalty: float


@dataclass(frozen=True)
class Rouge:
    """Shares of the candidate and of the reference that overlap, and their harmonic mean."""

    precision: float
    recall: float

    @property
    def f1(self) -> float:
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0


def sentence_bleu(
    text: str, references: Sequence[str], *, tokenizer: Tokenizer = "13a", lowercase: bool = False
) -> Bleu:
    """BLEU of one text, with 1 added to the counts of n > 1 (Lin and Och 2004): without that most texts have 0."""
    found = _bleu(tokenizer, lowercase).sentence_score(text, list(references))
    return Bleu(found.score / 100, tuple(value / 100 for value in found.precisions), found.bp)


def corpus_bleu(
    texts: Sequence[str],
    references: Sequence[Sequence[str]],
    *,
    tokenizer: Tokenizer = "13a",
    lowercase: bool = False,
) -> Bleu:
    """BLEU of many texts, each with references of its own: counts are summed first, so it is no mean of sentences."""
    most = max(map(len, references))
    columns = [[own[number] if number < len(own) else "" for own in references] for number in range(most)]
    found = _corpus_bleu(tokenizer, lowercase).corpus_score(list(texts), columns)
    return Bleu(found.score / 100, tuple(value / 100 for value in found.precisions), found.bp)


def rouge(kind: RougeKind, text: str, references: Sequence[str]) -> Rouge:
    """ROUGE against the reference where its F1 is highest; 0 for a text or references without words."""
    return max((_ROUGE[kind](text, reference) for reference in references), key=lambda found: found.f1)


def rouge_n(n: int, text: str, reference: str) -> Rouge:
    """Overlap of n-grams; each counts at most as often as in the other text."""
    own, other = (Counter(ngrams(words_of(each), n)) for each in (text, reference))
    return _rouge((own & other).total(), own.total(), other.total())


def rouge_l(text: str, reference: str) -> Rouge:
    """The longest common subsequence of words, over all line breaks."""
    own, other = words_of(text), words_of(reference)
    return _rouge(lcs_length(own, other), len(own), len(other))


def rouge_lsum(text: str, reference: str) -> Rouge:
    """For each line of the reference the words that are in its longest common subsequence with any line of the text
    (union LCS, section 3.2 of the paper); a word counts at most as often as in the text."""
    lines, wanted = ([words_of(line) for line in each.splitlines()] for each in (text, reference))
    left, hits = Counter(word for line in lines for word in line), 0
    for line in wanted:
        places = set[int]().union(*(_lcs_places(line, other) for other in lines))
        for place in sorted(places):
            if left[line[place]] > 0:
                left[line[place]] -= 1
                hits += 1
    return _rouge(hits, sum(map(len, lines)), sum(map(len, wanted)))


_ROUGE = {
    "rouge_1": functools.partial(rouge_n, 1),
    "rouge_2": functools.partial(rouge_n, 2),
    "rouge_l": rouge_l,
    "rouge_lsum": rouge_lsum,
}


def _rouge(hits: int, own: int, other: int) -> Rouge:
    return Rouge(hits / own if own else 0.0, hits / other if other else 0.0)


def _lcs_places(words: Sequence[str], other: Sequence[str]) -> Iterable[int]:
    """Places in `words` of one longest common subsequence with `other`."""
    lengths = [[0] * (len(other) + 1) for _ in range(len(words) + 1)]
    for i, word in enumerate(words, 1):
        for j, partner in enumerate(other, 1):
            if word == partner:
                lengths[i][j] = lengths[i - 1][j - 1] + 1
            else:
                lengths[i][j] = max(lengths[i - 1][j], lengths[i][j - 1])
    i, j = len(words), len(other)
    while i and j:
        if words[i - 1] == other[j - 1]:
            yield i - 1
            i, j = i - 1, j - 1
        elif lengths[i - 1][j] >= lengths[i][j - 1]:
            i -= 1
        else:
            j -= 1


@functools.cache
def _bleu(tokenizer: Tokenizer, lowercase: bool) -> BLEU:
    from sacrebleu.metrics.bleu import BLEU

    return BLEU(smooth_method="add-k", smooth_value=1, effective_order=True, tokenize=tokenizer, lowercase=lowercase)


@functools.cache
def _corpus_bleu(tokenizer: Tokenizer, lowercase: bool) -> BLEU:
    from sacrebleu.metrics.bleu import BLEU

    return BLEU(tokenize=tokenizer, lowercase=lowercase)
