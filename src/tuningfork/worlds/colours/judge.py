"""The gold judge of answers: reads an answer's words, knows what is true, is never part of a reward."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tuningfork.worlds.colours.facts import Facts, Term

_NEGATION = re.compile(r"(?<!\w)(?:not|no|never|nor|neither|none|nothing|cannot|without|\w+n't)(?!\w)")


@dataclass(frozen=True)
class AnswerJudgement:
    """What one answer holds. A right answer ends, denies nothing and holds one term, of the right family."""

    terms: tuple[Term, ...]
    has_ended: bool
    has_negation: bool
    family: str | None
    """the right family; None when nobody can know it"""

    @property
    def has_plain(self) -> bool:
        """Whether a plain word occurs."""
        return any(not term.is_gem for term in self.terms)

    @property
    def has_gem(self) -> bool:
        """Whether a gem word occurs."""
        return any(term.is_gem for term in self.terms)

    @property
    def is_colour_right(self) -> bool:
        """One term, plain or gem, of the right family, in an answer that ends and denies nothing."""
        is_clean = self.has_ended and not self.has_negation and len(self.terms) == 1
        return is_clean and self.family is not None and self.terms[0].family == self.family

    @property
    def is_gem_right(self) -> bool:
        """As `is_colour_right`, with a gem word."""
        return self.is_colour_right and self.terms[0].is_gem


def judge_answer(facts: Facts, root: str, text: str, has_ended: bool) -> AnswerJudgement:
    """Judge the answer `text` about object `root`; `has_ended` says whether the model ended it with EOS itself."""
    has_negation = _NEGATION.search(text.lower().replace("’", "'")) is not None
    return AnswerJudgement(tuple(facts.find_terms(text)), has_ended, has_negation, facts.things[root].value)


def is_term_changed(facts: Facts, before: str, after: str) -> bool:
    """Whether two answers name different terms: the collateral damage on objects that nobody wanted changed."""
    return [term.text for term in facts.find_terms(before)] != [term.text for term in facts.find_terms(after)]
