"""Correlation of two columns: plain, of ranks, and within groups. No torch.

Spearman's is Pearson's of the ranks, equal values sharing the mean of their ranks; None where a column does not vary.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

from tuningfork.randomness import numpy_generator

Values = Sequence[float] | np.ndarray


def ranks(values: Values) -> np.ndarray:
    """Ranks (N,) from 1; equal values share the mean of theirs."""
    array = np.asarray(values, dtype=np.float64)
    _, place, counts = np.unique(array, return_inverse=True, return_counts=True)
    last = counts.cumsum()
    return (last - (counts - 1) / 2)[place]


def pearson(first: Values, second: Values) -> float | None:
    """Pearson's correlation of two columns (N,)."""
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if len(a) < 2:
        return None
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a**2).sum() * (b**2).sum()))
    return float((a * b).sum()) / scale if scale > 1e-12 * len(a) else None


def spearman(first: Values, second: Values) -> float | None:
    """Rank correlation of two columns (N,) (Spearman 1904)."""
    return pearson(ranks(first), ranks(second)) if len(first) else None


def spearman_interval(
    first: Values, second: Values, roots: Sequence[Hashable], *, seed: int, draws: int = 1000
) -> tuple[float, float] | None:
    """95 % interval of Spearman's, resampling whole roots; None with fewer than 6 roots."""
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    places: dict[Hashable, list[int]] = {}
    for row, root in enumerate(roots):
        places.setdefault(root, []).append(row)
    groups = [np.array(rows) for rows in places.values()]
    if len(groups) < 6:
        return None
    generator, found = numpy_generator(seed, "spearman"), []
    for _ in range(draws):
        rows = np.concatenate([groups[index] for index in generator.integers(len(groups), size=len(groups))])
        value = spearman(a[rows], b[rows])
        if value is not None:
            found.append(value)
    if not found:
        return None
    low, high = np.quantile(found, [0.025, 0.975])
    return float(low), float(high)


def within_groups(values: Values, groups: Sequence[Hashable]) -> np.ndarray:
    """Values (N,) less the mean of their group; a group of one becomes 0."""
    array = np.asarray(values, dtype=np.float64)
    index: dict[Hashable, int] = {}
    where = np.array([index.setdefault(group, len(index)) for group in groups])
    return array - (np.bincount(where, weights=array) / np.bincount(where))[where]


def correlation_within(first: Values, second: Values, groups: Sequence[Hashable]) -> float | None:
    """Pearson's correlation of what is left of two columns once the mean of each group is taken away."""
    counts: dict[Hashable, int] = {}
    for group in groups:
        counts[group] = counts.get(group, 0) + 1
    kept = [row for row, group in enumerate(groups) if counts[group] > 1]
    a, b = within_groups(first, groups), within_groups(second, groups)
    return pearson(a[kept], b[kept])
