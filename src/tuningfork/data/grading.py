"""Whether an answer is right, abstains, or is wrong: rules over accepted and wrong answers. No torch here.

words     an accepted answer stands in the text as whole words, and no wrong one does
number    the last number of the text is an accepted one
exact     the text is an accepted answer, but for case, punctuation and articles (as SQuAD has it, 1606.05250)
nearest   by words shared (F1) the text is nearer to an accepted answer than to any wrong one; a crude rule for free text

An abstention holds one of the phrases, and with `words` and `number` no answer beside it: "i do not know, maybe red" is
an answer. Whatever is neither right nor an abstention is wrong, an empty text too.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import Literal

from pydantic import Field

import tuningfork.settings

Grade = Literal["right", "abstained", "wrong"]
Match = Literal["words", "number", "exact", "nearest"]

_NUMBER = re.compile(r"-?(?:\d[\d,]*)?\.?\d+")
_ARTICLE = re.compile(r"\b(?:a|an|the)\b")


class Settings(tuningfork.settings.Settings):
    """How answers are graded."""

    match: Match = "words"
    """`words`: an accepted answer stands in the text and no wrong one does; `number`: its last number is accepted;
    `exact`: it is an accepted answer; `nearest`: it shares more words with an accepted answer than with any wrong one"""
    abstentions: tuple[str, ...] = Field(
        default=(
            "i do not know",
            "i don't know",
            "i am not sure",
            "i'm not sure",
            "i have no comment",
            "it is not known",
            "nobody knows",
            "i cannot answer",
            "i can't answer",
        ),
        min_length=1,
    )
    """phrases that say that the answer is not known"""


def grade(text: str, accepted: Sequence[str], wrong: Sequence[str], settings: Settings) -> Grade:
    """The grade of one answer; a question without any accepted answer can only be abstained from."""
    if settings.match == "number":
        found = [_number(match) for match in _NUMBER.findall(text)]
        is_right = bool(found) and found[-1] in {_number(answer) for answer in accepted}
        claims = bool(found)
    elif settings.match == "words":
        has_wrong = any(_holds(text, answer) for answer in wrong)
        is_right = not has_wrong and any(_holds(text, answer) for answer in accepted)
        claims = is_right or has_wrong
    else:
        is_right = _is_exact(text, accepted) if settings.match == "exact" else _is_nearer(text, accepted, wrong)
        claims = False
    if not claims and _abstains(text, settings):
        return "abstained"
    return "right" if is_right else "wrong"


def words_of(text: str) -> list[str]:
    """Words without case, punctuation and articles."""
    plain = _plain(text).translate(str.maketrans(dict.fromkeys(string.punctuation, " ")))
    return _ARTICLE.sub(" ", plain).split()


def shared_words(text: str, other: str) -> float:
    """F1 of the words two texts share, counted as often as they occur; 0 where one has none."""
    first, second = Counter(words_of(text)), Counter(words_of(other))
    shared = (first & second).total()
    return 2 * shared / (first.total() + second.total()) if shared else 0.0


def _plain(text: str) -> str:
    return unicodedata.normalize("NFC", text).replace("’", "'").casefold()


def _holds(text: str, answer: str) -> bool:
    return re.search(rf"(?<![\w-]){re.escape(_plain(answer))}(?![\w-])", _plain(text)) is not None


def _abstains(text: str, settings: Settings) -> bool:
    return any(_holds(text, phrase) for phrase in settings.abstentions)


def _number(text: str) -> float | str:
    try:
        return float(text.replace(",", "").replace("$", "").strip())
    except ValueError:
        return text


def _is_exact(text: str, accepted: Sequence[str]) -> bool:
    return words_of(text) in [words_of(answer) for answer in accepted]


def _is_nearer(text: str, accepted: Sequence[str], wrong: Sequence[str]) -> bool:
    best = max((shared_words(text, answer) for answer in accepted), default=0.0)
    return best > max((shared_words(text, answer) for answer in wrong), default=0.0)
