"""Which instructions and answers of a teacher are kept. Each rule has a name, under which what it drops is counted.

Instructions: Self-Instruct, section 3.1 (Wang et al. 2022, 2212.10560). Elimination of evolved ones and of answers:
Evol-Instruct, section 3.2 (Xu et al. 2023, 2304.12244).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from tuningfork.asking.asker import Reply
from tuningfork.data.duplicates import fingerprint
from tuningfork.data.novelty import NoveltyFilter, words_of
from tuningfork.teachers.settings import AnswerRules, InstructionRules

_REFUSAL = re.compile(r"\b(sorry|apologi[sz]e|as an ai|i cannot|i can't|i am unable|i'm unable)\b", re.IGNORECASE)
_SHORT_REFUSAL = 80
_OF_THE_PROMPT = (
    "given instruction",
    "rewritten instruction",
    "new instruction",
    "#instruction",
    "the instruction above",
)
_NUMBERED = re.compile(r"^\s*(?:task\s*)?(\d{1,3})\s*[.):]\s+", re.IGNORECASE | re.MULTILINE)
_STOP_WORDS = frozenset((
    "a", "an", "and", "are", "as", "at", "be", "by", "for", "from", "has", "he", "in", "is", "it", "its",
    "of", "on", "or", "that", "the", "to", "was", "were", "will", "with",
))  # fmt: skip


class InstructionFilter:
    """Keeps instructions that follow the rules and are new; remembers those it kept."""

    def __init__(self, rules: InstructionRules, known: Iterable[str] = ()) -> None:
        self.rules = rules
        self._excluded = re.compile(
            "|".join(rf"\b{re.escape(word)}\b" for word in rules.excluded) or r"(?!)", re.IGNORECASE
        )
        self._novelty = NoveltyFilter(rules.rouge_l)
        self._seen: set[bytes] = set()
        for text in known:
            self._remember(text)

    def fault(self, text: str) -> str | None:
        """The rule that an instruction breaks; None for one that is kept, which is then known."""
        fewest, most = self.rules.words
        count = len(text.split())
        if count < fewest:
            return "too_short"
        if count > most:
            return "too_long"
        if not text[:1].isalnum() and text[:1] not in "\"'¿¡(":
            return "odd_beginning"
        if self._excluded.search(text):
            return "excluded_word"
        if fingerprint(text) in self._seen:
            return "duplicate"
        if self._novelty.most_similar(text) is not None:
            return "not_novel"
        self._remember(text)
        return None

    def _remember(self, text: str) -> None:
        self._seen.add(fingerprint(text))
        self._novelty.add(text)


def evolved_fault(text: str, reply: Reply) -> str | None:
    """The elimination rule that an evolved instruction breaks by itself; None where it breaks none."""
    if not reply.has_ended:
        return "cut_off"
    if any(phrase in text.lower() for phrase in _OF_THE_PROMPT):
        return "words_of_the_prompt"
    return None


def answer_fault(question: str, reply: Reply, rules: AnswerRules) -> str | None:
    """The rule that an answer breaks; None for one that is kept."""
    text = reply.text.strip()
    fewest, most = rules.words
    count = len(text.split())
    if not reply.has_ended:
        return "answer_cut_off"
    if not set(words_of(text)) - _STOP_WORDS:
        return "answer_without_content"
    if count < fewest:
        return "answer_too_short"
    if count > most:
        return "answer_too_long"
    if fingerprint(text) == fingerprint(question):
        return "answer_repeats_question"
    if rules.drop_refusals and count < _SHORT_REFUSAL and _REFUSAL.search(text):
        return "answer_refuses"
    return None


def numbered_items(text: str) -> list[str]:
    """The items of a numbered list, each on one or more lines, in order; what stands before the first is left aside."""
    marks = list(_NUMBERED.finditer(text))
    ends = [*(mark.start() for mark in marks[1:]), len(text)][: len(marks)]
    return [text[mark.end() : end].strip() for mark, end in zip(marks, ends, strict=True)]
