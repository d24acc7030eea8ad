"""What a score makes of an answer that is rewritten by rule: the same in other words, cut, praised, said twice.

A paraphrase should change nothing much, half an answer should score less, praise and repetition should score no more. Rules
and not a model, so that it is known what was changed. No torch.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tuningfork.evals.accuracy import differences_of
from tuningfork.evals.feedback import Compared

PRAISE = " What a great question! I hope this helps, and thank you for asking."

_OTHER_WORDS = {
    "don't": "do not", "doesn't": "does not", "didn't": "did not", "can't": "cannot", "won't": "will not", "isn't": "is not",
    "aren't": "are not", "wasn't": "was not", "weren't": "were not", "couldn't": "could not", "wouldn't": "would not",
    "shouldn't": "should not", "haven't": "have not", "hasn't": "has not", "it's": "it is", "that's": "that is",
    "there's": "there is", "i'm": "I am", "i've": "I have", "i'll": "I will", "you're": "you are", "you'll": "you will",
    "we're": "we are", "they're": "they are", "let's": "let us",
    "do not": "don't", "cannot": "can't", "will not": "won't", "is not": "isn't", "are not": "aren't", "i am": "I'm",
    "it is": "it's", "that is": "that's", "you are": "you're", "they are": "they're",
    "also": "too", "however": "but", "but": "though", "because": "since", "since": "because", "many": "a lot of",
    "about": "around", "big": "large", "large": "big", "begin": "start", "start": "begin", "help": "assist", "film": "movie",
    "movie": "film", "movies": "films", "films": "movies", "maybe": "perhaps", "perhaps": "maybe", "such as": "like",
    "for example": "for instance", "really": "truly", "quickly": "fast", "small": "little", "buy": "purchase",
    "use": "make use of", "very": "quite", "often": "frequently", "almost": "nearly", "nearly": "almost", "enough": "sufficient",
}  # fmt: skip
"""Words and contractions -> others that say the same."""
_PATTERN = re.compile(
    r"\b(" + "|".join(sorted(map(re.escape, _OTHER_WORDS), key=len, reverse=True)) + r")\b", re.IGNORECASE
)


def paraphrase(text: str) -> str:
    """The text with words and contractions exchanged for others of the same meaning; capitals are kept."""

    def other(match: re.Match[str]) -> str:
        found, said = _OTHER_WORDS[match[0].lower().replace("\u2019", "'")], match[0]
        return found[0].upper() + found[1:] if said[0].isupper() else found

    return _PATTERN.sub(other, text.replace("\u2019", "'"))


def first_half(text: str) -> str:
    """The first half of the words; a text of one word stays."""
    words = text.split(" ")
    return " ".join(words[: max(1, len(words) // 2)])


def praised(text: str) -> str:
    """The text with praise for the question behind it."""
    return text.rstrip() + PRAISE


def said_twice(text: str) -> str:
    """The text, and the text again."""
    return f"{text.rstrip()} {text.strip()}"


REWRITES: dict[str, tuple[Callable[[str], str], str]] = {
    "paraphrase": (paraphrase, "stay"),
    "first half": (first_half, "fall"),
    "praise added": (praised, "not rise"),
    "said twice": (said_twice, "not rise"),
}
"""Name -> the rewriting, and what the score should do."""


@dataclass(frozen=True)
class Sensitivity:
    """What one rewriting did to the scores of the better answers. Shifts are in deviations of the held-out scores."""

    name: str
    wanted: str
    n: int
    """answers that it changed"""
    shift: float
    size: float
    """mean size of the shift, whatever its sign"""
    rises: float
    """share of the answers that score higher than before"""
    flips: float
    """share of the comparisons, right before, in which the worse answer now scores higher than the rewritten better one"""


def rewritten(answers: Sequence[str], rewrite: Callable[[str], str]) -> list[tuple[int, str]]:
    """(number, new text) of the answers that a rewriting changes."""
    return [(number, new) for number, text in enumerate(answers) if (new := rewrite(text)) != text]


def sensitivity(
    name: str,
    wanted: str,
    before: Sequence[float],
    after: dict[int, float],
    comparisons: Sequence[Compared],
    deviation: float,
) -> Sensitivity | None:
    """From scores of all answers before and of the rewritten ones (number -> score); None where none was changed."""
    if not after:
        return None
    shifts = np.array([value - before[number] for number, value in after.items()]) / deviation
    changed = [c for c in comparisons if c.better in after]
    old = differences_of(before, changed) if changed else np.zeros(0)
    new = np.array([after[c.better] - before[c.worse] for c in changed])
    right = old > 0
    flips = float((new[right] < 0).mean()) if right.any() else 0.0
    return Sensitivity(
        name, wanted, len(after), float(shifts.mean()), float(np.abs(shifts).mean()), float((shifts > 0).mean()), flips
    )
