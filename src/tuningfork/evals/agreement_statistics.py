"""How far raters agree: raw agreement, Cohen's and Fleiss's kappa, Krippendorff's alpha. The unit is the item.

All four are 1 - D_o / D_e, observed over expected disagreement (raw agreement expects 1). Intervals resample items with
all their ratings (percentile bootstrap). Items with the same ratings are exchangeable, so a resample is one multinomial
draw over the distinct items: exact, and as fast for 100,000 items as for 100. An undefined figure is NaN with a reason.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tuningfork.randomness import numpy_generator

DRAWS = 2000
MIN_ITEMS = 6
"""Below this no interval is given: a bootstrap of so few items calls them certain."""
UNDEFINED_SHARE = 0.05
"""No interval either where more than this share of the resamples holds one category alone."""

Value = str | int | float
Items = Sequence[Sequence[Value | None]]
"""One row an item, one entry a rating; None or NaN where a rater did not rate. Rows may differ in length."""
Level = Literal["nominal", "ordinal", "interval", "ratio"]
Weights = Literal["none", "linear", "quadratic"]


@dataclass(frozen=True)
class Agreement:
    """One coefficient of agreement with its interval over items."""

    coefficient: str
    value: float
    """NaN where undefined"""
    ci95: tuple[float, float] | None
    """None where items cannot tell, see `reason`"""
    num_items: int
    """items with enough ratings to count"""
    num_ratings: int
    """ratings of those items"""
    reason: str = ""
    """why there is no value, or no interval"""


def raw_agreement(items: Items, *, seed: int = 0, draws: int = DRAWS) -> Agreement:
    """Chance that two raters of one item say the same: mean over items of the share of agreeing pairs (Fleiss's P)."""
    counts, _ = _counts(items)

    def disagreement(times: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        observed = times @ _disagreeing_pairs(rows) / times.sum(1)
        return observed, np.ones_like(observed)

    return _estimate("raw agreement", counts, disagreement, seed, draws)


def cohens_kappa(
    first: Sequence[Value | None],
    second: Sequence[Value | None],
    *,
    weights: Weights | Sequence[Sequence[float]] = "none",
    categories: Sequence[Value] | None = None,
    seed: int = 0,
    draws: int = DRAWS,
) -> Agreement:
    """Cohen's kappa of two raters (1960), weighted by distance of category (1968); expected from their own marginals.

    `categories` gives all categories in order (the sorted values found, if left out); `linear` and `quadratic` count
    places in that order. A matrix (k, k) of disagreement weights may be given instead, 0 on its diagonal.
    """
    if len(first) != len(second):
        raise ValueError(f"need as many ratings of both raters, not {len(first)} and {len(second)}")
    pairs = zip(first, second, strict=True)
    both = [(a, b) for a, b in pairs if a is not None and b is not None and not (_is_missing(a) or _is_missing(b))]
    index = _index([value for pair in both for value in pair], categories)
    k = len(index)
    cost = _cost(weights, k)
    cells = np.array([index[a] * k + index[b] for a, b in both], dtype=np.int64)
    table = np.eye(k * k)[cells]  # (items, k * k), one hot

    def disagreement(times: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        share = ((times @ rows) / times.sum(1, keepdims=True)).reshape(-1, k, k)
        expected = np.einsum("bi,ij,bj->b", share.sum(2), cost, share.sum(1))
        return (share * cost).sum((1, 2)), expected

    name = "Cohen's kappa" if isinstance(weights, str) and weights == "none" else "Cohen's weighted kappa"
    return _estimate(name, table, disagreement, seed, draws, ratings_a_row=2)


def fleiss_kappa(items: Items, *, seed: int = 0, draws: int = DRAWS) -> Agreement:
    """Fleiss's kappa (1971): the same number of ratings for every item, whoever gave them; pooled marginals."""
    counts, _ = _counts(items)
    sizes = sorted(set(counts.sum(1).astype(int).tolist()))
    if len(sizes) > 1:
        reason = f"items have {sizes[0]} to {sizes[-1]} ratings, and Fleiss's kappa needs one number for all"
        return Agreement("Fleiss's kappa", math.nan, None, len(counts), int(counts.sum()), reason)

    def disagreement(times: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        share = times @ rows
        share = share / share.sum(1, keepdims=True)
        return times @ _disagreeing_pairs(rows) / times.sum(1), 1 - (share**2).sum(1)

    return _estimate("Fleiss's kappa", counts, disagreement, seed, draws)


def krippendorff_alpha(
    items: Items,
    *,
    level: Level = "nominal",
    categories: Sequence[Value] | None = None,
    seed: int = 0,
    draws: int = DRAWS,
) -> Agreement:
    """Krippendorff's alpha (2011): any number of raters, ratings missing, four levels of measurement.

    Items with fewer than two ratings are left out. `categories` gives the order for `ordinal` (sorted, if left out).
    """
    counts, values = _counts(items, categories)
    numbers = _numbers(values, level) if level in ("interval", "ratio") else np.arange(len(values), dtype=np.float64)

    def disagreement(times: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        totals = times @ rows  # (B, k): n_c
        n = totals.sum(1)
        if level == "ordinal":  # its distances depend on how often each category was given, so on the sample
            squared = _ordinal_distances(totals)  # (B, k, k)
            pairs = np.stack([_coincidences(row) for row in rows])  # (K, k, k)
            observed = np.einsum("bij,bij->b", np.tensordot(times, pairs, 1), squared)
            expected = np.einsum("bi,bij,bj->b", totals, squared, totals, optimize=True)
        else:
            squared = _distances(numbers, level)  # (k, k)
            observed = times @ (((rows @ squared) * rows).sum(1) / (rows.sum(1) - 1))
            expected = ((totals @ squared) * totals).sum(1)
        return observed / n, expected / (n * (n - 1))

    return _estimate(f"Krippendorff's alpha, {level}", counts, disagreement, seed, draws)


def _estimate(
    name: str,
    rows: np.ndarray,
    disagreement: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]],
    seed: int,
    draws: int,
    ratings_a_row: int | None = None,
) -> Agreement:
    """1 - D_o / D_e of the items (U, ...), with an interval.

    `disagreement(times (B, K), distinct rows (K, ...))` gives D_o (B,) and D_e (B,) of B samples, where `times` says
    how often each distinct row is in each sample.
    """
    num_items = len(rows)
    num_ratings = int(rows.sum()) if ratings_a_row is None else ratings_a_row * num_items
    if not num_items:
        return Agreement(name, math.nan, None, 0, 0, "no item has two ratings")
    distinct, times = np.unique(rows, axis=0, return_counts=True)
    value = float(_coefficients(*disagreement(times[None, :].astype(np.float64), distinct))[0])
    if math.isnan(value):
        return Agreement(name, value, None, num_items, num_ratings, "all ratings are one category")
    if num_items < MIN_ITEMS:
        return Agreement(name, value, None, num_items, num_ratings, f"no interval of fewer than {MIN_ITEMS} items")
    if len(distinct) == 1 or value == 1.0:
        return Agreement(name, value, None, num_items, num_ratings, "no interval: items do not differ in agreement")
    resampled = numpy_generator(seed, "agreement").multinomial(num_items, times / num_items, size=draws)
    found = _coefficients(*disagreement(resampled.astype(np.float64), distinct))
    if np.isnan(found).mean() > UNDEFINED_SHARE:
        return Agreement(name, value, None, num_items, num_ratings, "no interval: nearly all ratings are one category")
    low, high = np.nanquantile(found, [0.025, 0.975])
    return Agreement(name, value, (float(low), float(high)), num_items, num_ratings)


def _coefficients(observed: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """1 - D_o / D_e, NaN where no disagreement could be expected (up to rounding)."""
    possible = expected > 1e-12
    return np.where(possible, 1 - observed / np.where(possible, expected, 1.0), np.nan)


def _counts(items: Items, categories: Sequence[Value] | None = None) -> tuple[np.ndarray, list[Value]]:
    """How often each category (columns) was given to each item with two or more ratings (rows), and the categories."""
    kept = [[value for value in item if value is not None and not _is_missing(value)] for item in items]
    kept = [item for item in kept if len(item) >= 2]
    index = _index([value for item in kept for value in item], categories)
    counts = np.zeros((len(kept), len(index)))
    for row, item in zip(counts, kept, strict=True):
        for value in item:
            row[index[value]] += 1
    return counts, list(index)


def _index(found: Sequence[Value], categories: Sequence[Value] | None) -> dict[Value, int]:
    if categories is None:
        categories = sorted(set(found))  # names and numbers together have no order: a TypeError
    index = {category: place for place, category in enumerate(categories)}
    if unknown := sorted({str(value) for value in found if value not in index}):
        raise ValueError(f"ratings that are no category: {', '.join(unknown[:5])}")
    return index


def _is_missing(value: Value) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _disagreeing_pairs(counts: np.ndarray) -> np.ndarray:
    """Share of the ordered pairs of ratings of each item (K, k) that differ, (K,)."""
    sizes = counts.sum(1)
    return 1 - (counts * (counts - 1)).sum(1) / (sizes * (sizes - 1))


def _cost(weights: Weights | Sequence[Sequence[float]], k: int) -> np.ndarray:
    """Disagreement weights (k, k)."""
    if not isinstance(weights, str):
        cost = np.asarray(weights, dtype=np.float64)
        if cost.shape != (k, k) or cost.diagonal().any() or (cost < 0).any():
            raise ValueError(f"need a matrix of {k} x {k} weights, none negative, 0 on the diagonal")
        return cost
    places = np.arange(k, dtype=np.float64)
    distance = np.abs(places[:, None] - places)
    return {"none": (distance > 0).astype(np.float64), "linear": distance, "quadratic": distance**2}[weights]


def _coincidences(counts: np.ndarray) -> np.ndarray:
    """Coincidence matrix (k, k) of one item (k,): ordered pairs of its ratings, each counted 1 / (m - 1)."""
    return (np.outer(counts, counts) - np.diag(counts)) / (counts.sum() - 1)


def _distances(numbers: np.ndarray, level: Level) -> np.ndarray:
    """Squared distances (k, k) between categories."""
    difference = numbers[:, None] - numbers
    if level == "nominal":
        return (difference != 0).astype(np.float64)
    if level == "ratio":
        total = numbers[:, None] + numbers
        return (difference / np.where(total == 0, 1.0, total)) ** 2
    return difference**2


def _ordinal_distances(totals: np.ndarray) -> np.ndarray:
    """Squared distances (B, k, k): ratings from one category to the other, half of the two ends' own."""
    middle = np.cumsum(totals, axis=1) - totals / 2  # ratings below a category and half of its own
    return (middle[:, :, None] - middle[:, None, :]) ** 2


def _numbers(values: Sequence[Value], level: Level) -> np.ndarray:
    if wrong := [value for value in values if isinstance(value, str) or (level == "ratio" and value < 0)]:
        allowed = "numbers of 0 or more" if level == "ratio" else "numbers"
        raise ValueError(f"alpha at the level {level} needs {allowed}, not {wrong[0]!r}")
    return np.array(values, dtype=np.float64)
