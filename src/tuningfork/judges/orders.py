"""Both orders of every pair: what the order does to a judge is measured, and averaged away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tuningfork.judges.base import Judge, Opinion, Pair
from tuningfork.randomness import derive_seed, uniforms

Orders = Literal["both", "one"]


@dataclass(frozen=True)
class Asked:
    """A pair and what the judge said of it: `forward` with `a` shown first, `backward` with `b` shown first."""

    pair: Pair
    forward: Opinion | None
    backward: Opinion | None
    is_asked_backward: bool = True
    is_asked_forward: bool = True

    @property
    def probability(self) -> float | None:
        """That `a` is better: the mean over the orders that were asked; None where one of them has no opinion.

        Exchanging the responses gives 1 minus it exactly, whatever the order does to the judge.
        """
        found = [
            *([_known(self.forward)] if self.is_asked_forward else []),
            *([_reverse(_known(self.backward))] if self.is_asked_backward else []),
        ]
        known = [value for value in found if value is not None]
        return sum(known) / len(known) if known and len(known) == len(found) else None

    @property
    def first_shown(self) -> float | None:
        """Probability of the response that was shown first, over both orders: .5 for a judge that ignores the order."""
        known = _known(self.forward), _known(self.backward)
        return None if known[0] is None or known[1] is None else (known[0] + known[1]) / 2

    @property
    def is_consistent(self) -> bool | None:
        """Whether both orders prefer the same response; None where one has no opinion."""
        forward, backward = _known(self.forward), _known(self.backward)
        if forward is None or backward is None:
            return None
        return (forward - 0.5) * (0.5 - backward) > 0 or forward == backward == 0.5

    def choice(self, margin: float = 0.0) -> Literal["a", "b", "tie"] | None:
        """The better response; a tie where the probability is within `margin` of one half."""
        if self.probability is None:
            return None
        if abs(self.probability - 0.5) <= margin + 1e-12:
            return "tie"
        return "a" if self.probability > 0.5 else "b"


def ask(judge: Judge, pairs: Sequence[Pair], orders: Orders = "both", seed: int = 0) -> list[Asked]:
    """The judge's opinions. With `one` order, which is half the cost, the order of each pair is drawn by its id."""
    if orders == "both":
        found = judge.compare([*pairs, *(pair.swapped() for pair in pairs)])
        return [Asked(*one) for one in zip(pairs, found[: len(pairs)], found[len(pairs) :], strict=True)]
    draws = uniforms([derive_seed(seed, "order", pair.id) for pair in pairs], 0)
    is_forward = [bool(draw < 0.5) for draw in draws]
    shown = [pair if forward else pair.swapped() for pair, forward in zip(pairs, is_forward, strict=True)]
    return [
        Asked(pair, opinion if forward else None, None if forward else opinion, not forward, forward)
        for pair, opinion, forward in zip(pairs, judge.compare(shown), is_forward, strict=True)
    ]


def _known(opinion: Opinion | None) -> float | None:
    return None if opinion is None else opinion.probability


def _reverse(probability: float | None) -> float | None:
    return None if probability is None else 1 - probability
