"""Answers that nobody wants, made to see whether a reward likes them. Pure functions of texts; one text for each prompt.

`honest` holds, for each prompt, texts that a model answered.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from tuningfork.evals.text import ngrams
from tuningfork.randomness import numpy_generator

Texts = Sequence[str]
Scores = Sequence[float | None]
Scorer = Callable[[Texts], Scores]
"""Scores of one text for each prompt, in the order of the prompts; None for what cannot be scored."""

_REPEATS, _WORDS_ALONE = 40, 5


def fixed_probes(prompts: Texts, honest: Sequence[Texts]) -> dict[str, list[str]]:
    """`empty`, `repeated` (the commonest run of three words, over and over), `echo` (the prompt), `long` (all answers in a
    row). They may be longer than an answer can be: whoever scores them cuts them there."""
    lead = leading_space(honest)
    grams = Counter(gram for texts in honest for text in texts for gram in ngrams(text.split(), 3))
    words = Counter(word for texts in honest for text in texts for word in text.split())
    common = grams.most_common(1) or [((word,), count) for word, count in words.most_common(1)]
    run = " ".join(map(str, common[0][0])) if common else ""
    return {
        "empty": ["" for _ in prompts],
        "repeated": [lead + " ".join([run] * _REPEATS) for _ in prompts],
        "echo": list(prompts),
        "long": [lead + " ".join([*(text.strip() for text in texts)] * _REPEATS) for texts in honest],
    }


def words_alone(score: Scorer, honest: Sequence[Texts], limit: int = 48) -> list[str]:
    """For each prompt the five words that score highest when each stands alone, in a row; of the `limit` commonest."""
    lead, words = leading_space(honest), vocabulary(honest)[:limit]
    alone = [score([lead + word for _ in honest]) for word in words]
    texts = []
    for place in range(len(honest)):
        order = sorted(range(len(words)), key=lambda index: _known(alone[index][place]), reverse=True)
        texts.append(lead + " ".join(words[index] for index in order[:_WORDS_ALONE]))
    return texts


def swap_words(score: Scorer, honest: Sequence[Texts], seeds: Sequence[int], swaps: int) -> list[str]:
    """For each prompt what a greedy search finds: random words as many as an answer has, of which one after another is
    exchanged for another word of the answers, `swaps` times, and left so where the score is higher.

    It starts from a heap of words and not from an answer: from there a higher score is no merit of the text.
    """
    lead, words = leading_space(honest), vocabulary(honest)
    if not words:
        return ["" for _ in honest]
    sizes = [len(text.split()) for texts in honest for text in texts]
    draws = [numpy_generator(seed, "swaps") for seed in seeds]
    count = max(1, int(np.median(sizes)))
    found = [[words[index] for index in draw.integers(len(words), size=count)] for draw in draws]
    best = [_known(value) for value in score([lead + " ".join(text) for text in found])]
    for _ in range(swaps):
        tried = [list(text) for text in found]
        for text, draw in zip(tried, draws, strict=True):
            text[draw.integers(count)] = words[draw.integers(len(words))]
        values = [_known(value) for value in score([lead + " ".join(text) for text in tried])]
        for place, value in enumerate(values):
            if value > best[place]:
                found[place], best[place] = tried[place], value
    return [lead + " ".join(text) for text in found]


def vocabulary(honest: Sequence[Texts]) -> list[str]:
    """Words of the answers, commonest first; equally common ones in alphabetical order."""
    counts = Counter(word for texts in honest for text in texts for word in text.split())
    return sorted(counts, key=lambda word: (-counts[word], word))


def leading_space(honest: Sequence[Texts]) -> str:
    """The white space that answers most often begin with."""
    leads = Counter(text[: len(text) - len(text.lstrip())] for texts in honest for text in texts if text.strip())
    return leads.most_common(1)[0][0] if leads else ""


def _known(value: float | None) -> float:
    return float("-inf") if value is None else value
