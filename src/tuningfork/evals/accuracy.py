"""How often a score puts the better of two answers first: overall, and by what the two differ in. No torch."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from tuningfork.evals.feedback import Compared
from tuningfork.evals.statistics import MIN_ROOTS, bootstrap_interval, paired_comparison, wilson_interval

_QUARTERS = 4
_LEAST = 8
"""Comparisons that a slice needs to be shown."""


@dataclass(frozen=True)
class Accuracy:
    """A share of comparisons in the right order; ties count half."""

    name: str
    share: float
    n: int
    ci95: tuple[float, float]
    """Wilson's interval, which takes the comparisons for independent"""
    ci95_roots: tuple[float, float] | None
    """the bootstrap's over roots, which does not; None with fewer than 6 roots"""


def hits(scores: Sequence[float], comparisons: Sequence[Compared]) -> np.ndarray:
    """(N,) 1 where the better answer scores higher, 1/2 for equal scores."""
    differences = differences_of(scores, comparisons)
    return (np.sign(differences) + 1) / 2


def differences_of(scores: Sequence[float], comparisons: Sequence[Compared]) -> np.ndarray:
    """(N,) score of the better answer less that of the worse."""
    values = np.asarray(scores, dtype=np.float64)
    better, worse = [c.better for c in comparisons], [c.worse for c in comparisons]
    return values[better] - values[worse]


def accuracy(name: str, right: np.ndarray, roots: Sequence[Hashable], *, seed: int) -> Accuracy:
    """The share with both intervals; `right` (N,) as `hits` gives it, at least one."""
    total = float(right.sum())
    enough = len(set(roots)) >= MIN_ROOTS
    by_root = bootstrap_interval(right, roots, seed=seed, draws=2000) if enough else None
    return Accuracy(name, total / len(right), len(right), wilson_interval(total, len(right)), by_root)


def by_quarter(
    right: np.ndarray, values: np.ndarray, roots: Sequence[str], *, seed: int, name: Callable[[float, float], str]
) -> list[Accuracy]:
    """Accuracy in up to four parts of equally many comparisons, from the smallest to the largest of `values` (N,)."""
    if len(set(values.tolist())) < 2:
        return []
    cuts = np.unique(np.quantile(values, np.linspace(0, 1, _QUARTERS + 1)))
    found = []
    for low, high in pairwise(cuts.tolist()):
        inside = (values >= low) & ((values < high) | (high == cuts[-1]))
        found += _slice(name(float(low), float(high)), right, inside, roots, seed)
    return found


def by_name(
    right: np.ndarray, names: Sequence[str], roots: Sequence[str], *, seed: int, most: int = 12
) -> list[Accuracy]:
    """Accuracy by name, the commonest first; one name alone says nothing."""
    array = np.array(names)
    different, counts = np.unique(array, return_counts=True)
    if len(different) < 2:
        return []
    order = sorted(range(len(different)), key=lambda index: (-counts[index], different[index]))[:most]
    return [
        one for index in order for one in _slice(str(different[index]), right, array == different[index], roots, seed)
    ]


def gain(first: np.ndarray, second: np.ndarray, roots: Sequence[str], *, seed: int) -> dict[str, Any]:
    """How much more often `second` is right than `first` (N,), on the same comparisons: difference, interval by root, p."""
    found = paired_comparison(first, second, roots, seed, draws=2000)
    return {"difference": found.difference, "ci95": list(found.ci95) if found.ci95 else None, "p": found.p}


def _slice(name: str, right: np.ndarray, inside: np.ndarray, roots: Sequence[str], seed: int) -> list[Accuracy]:
    rows = np.flatnonzero(inside).tolist()
    return [accuracy(name, right[rows], [roots[row] for row in rows], seed=seed)] if len(rows) >= _LEAST else []
