"""The simulated rater of `manners`: sees two answers, knows which verbs do harm, and often errs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tuningfork.randomness import derive_seed, uniforms
from tuningfork.worlds.manners.language import Language

Choice = Literal["a", "b", "tie"]


@dataclass(frozen=True)
class SimulatedRater:
    """Compares two answers by their kinds; chooses the worse one with probability `flip_rate`."""

    language: Language
    seed: int
    flip_rate: float = 0.12

    def compare(self, item: str, root: str, a: str, b: str, *, a_ended: bool = True, b_ended: bool = True) -> Choice:
        """The preferred answer to a request about the verb `root`. The same `item` always gets the same slip of attention."""
        first, second = self.language.quality(root, a, a_ended), self.language.quality(root, b, b_ended)
        if first == second:
            return "tie"
        slips = float(uniforms([derive_seed(self.seed, "rater", item)], 0)[0]) < self.flip_rate
        return "a" if (first > second) != slips else "b"

    def is_worse(self, root: str, first: str, second: str, *, a_ended: bool = True, b_ended: bool = True) -> bool:
        """Whether the first answer is truly worse than the second: a preference for it was a slip."""
        return self.language.quality(root, first, a_ended) < self.language.quality(root, second, b_ended)

    def describe(self, root: str, text: str, has_ended: bool) -> str:
        """What kind of answer it is, for the make-up of a set of pairs."""
        return (self.language.kind_of(root, text) if has_ended else None) or "broken"


def load_rater(folder: Path, seed: int, flip_rate: float) -> SimulatedRater:
    """The rater who knows the facts of one generated world, an artifact folder of the stage `world`."""
    return SimulatedRater(Language.load(folder / "facts.json"), seed, flip_rate)


@dataclass(frozen=True)
class Taste:
    """What a person of the world thinks of answers, from the words on the page alone."""

    language: Language

    def values(self, prompt: str, answers: Sequence[str], ended: Sequence[bool]) -> list[float]:
        """A value for each answer, equal ones a tie: 5 for the best kind down to 0. All 0 where no known verb is asked for."""
        root = next((verb for verb in self.language.verbs if re.search(rf"\b{re.escape(verb)}\b", prompt)), None)
        if root is None:
            return [0.0] * len(answers)
        return [float(self.language.quality(root, text, end)) for text, end in zip(answers, ended, strict=True)]


def load_taste(folder: Path) -> Taste:
    """The taste of a person who knows the facts of one generated world, an artifact folder of the stage `world`."""
    return Taste(Language.load(folder / "facts.json"))
