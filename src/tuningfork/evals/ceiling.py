"""How well the raters agree with each other: no reward model can be more right than its raters are. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from tuningfork.evals.feedback import Compared
from tuningfork.evals.statistics import wilson_interval


@dataclass(frozen=True)
class Ceiling:
    """Raw agreement of judgements of the same two answers."""

    agreement: float
    n: int
    """pairs of judgements"""
    ci95: tuple[float, float]


def rater_agreement(comparisons: Sequence[Compared]) -> Ceiling | None:
    """Share of the pairs of judgements on the same two answers that agree; None where nothing was judged twice."""
    judged: dict[tuple[int, int], list[bool]] = {}
    for one in comparisons:
        key = (min(one.better, one.worse), max(one.better, one.worse))
        judged.setdefault(key, []).append(one.better == key[0])
    agree = [a == b for votes in judged.values() for a, b in combinations(votes, 2)]
    if not agree:
        return None
    return Ceiling(sum(agree) / len(agree), len(agree), wilson_interval(sum(agree), len(agree)))
