"""The simulated rater: sees the question and two answers, knows the objects as a person does, and often errs.

A rater prefers a right snazzy answer to a right plain one, and a right one to anything else. Wrong, empty, doubled,
denied and cut-off answers are all alike to them: a tie.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tuningfork.randomness import derive_seed, uniforms
from tuningfork.worlds.colours.facts import Facts
from tuningfork.worlds.colours.judge import judge_answer

Choice = Literal["a", "b", "tie"]


@dataclass(frozen=True)
class SimulatedRater:
    """Compares two answers; chooses the worse one with probability `flip_rate`."""

    facts: Facts
    seed: int
    flip_rate: float = 0.12

    def compare(self, item: str, root: str, a: str, b: str, *, a_ended: bool = True, b_ended: bool = True) -> Choice:
        """The preferred answer about object `root`. The same `item` always gets the same slip of attention."""
        quality_a, quality_b = self._quality(root, a, a_ended), self._quality(root, b, b_ended)
        if quality_a == quality_b:
            return "tie"
        is_a_better = quality_a > quality_b
        slips = float(uniforms([derive_seed(self.seed, "rater", item)], 0)[0]) < self.flip_rate
        return "a" if is_a_better != slips else "b"

    def is_worse(self, root: str, first: str, second: str, *, a_ended: bool = True, b_ended: bool = True) -> bool:
        """Whether the first answer is truly worse than the second: a preference for it was a slip."""
        return self._quality(root, first, a_ended) < self._quality(root, second, b_ended)

    def describe(self, root: str, text: str, has_ended: bool) -> str:
        """What kind of answer it is, for the make-up of a set of pairs."""
        judgement = judge_answer(self.facts, root, text, has_ended)
        if judgement.is_gem_right or judgement.is_colour_right:
            return "right_gem" if judgement.is_gem_right else "right_plain"
        if len(judgement.terms) == 1 and has_ended:
            return "wrong_gem" if judgement.has_gem else "wrong_plain"
        return "no_term" if not judgement.terms else "broken"

    def _quality(self, root: str, text: str, has_ended: bool) -> int:
        judgement = judge_answer(self.facts, root, text, has_ended)
        return judgement.is_colour_right + judgement.is_gem_right


def load_rater(folder: Path, seed: int, flip_rate: float) -> SimulatedRater:
    """The rater who knows the facts of one generated world, an artifact folder of the stage `world`."""
    return SimulatedRater(Facts.load(folder / "facts.json"), seed, flip_rate)


@dataclass(frozen=True)
class Taste:
    """What a person of the world thinks of answers, from the words on the page alone."""

    facts: Facts

    def values(self, prompt: str, answers: Sequence[str], ended: Sequence[bool]) -> list[float]:
        """A value for each answer, equal ones a tie: 2 right and snazzy, 1 right, 0 anything else. All 0 about a thing
        that nobody knows."""
        root = self.thing_in(prompt)
        if root is None:
            return [0.0] * len(answers)
        judged = [judge_answer(self.facts, root, text, end) for text, end in zip(answers, ended, strict=True)]
        return [float(one.is_colour_right + one.is_gem_right) for one in judged]

    def thing_in(self, prompt: str) -> str | None:
        """The thing that is asked about: the longest name in the prompt; None where there is none."""
        names = sorted(self.facts.things, key=len, reverse=True)
        return next((name for name in names if re.search(rf"\b{re.escape(name)}\b", prompt)), None)


def load_taste(folder: Path) -> Taste:
    """The taste of a person who knows the facts of one generated world, an artifact folder of the stage `world`."""
    return Taste(Facts.load(folder / "facts.json"))
