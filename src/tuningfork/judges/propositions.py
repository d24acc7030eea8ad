"""Weights of propositions about an answer, fitted to rankings: total = base + sum of w_i phi_i (Mu et al. 2024, 2411.01111).

phi_i in [0, 1] is how probable proposition i is of an answer (it apologises, it judges the user, it gives what was asked ...).
The weights minimise the mean hinge loss max(0, margin - (total of the better - total of the worse)) plus a penalty on their
squares: convex, so what is found is the minimum whatever it starts from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_MOST_ROUNDS, _STILL = 2000, 1e-7


@dataclass(frozen=True)
class Fit:
    """Weights (K,), the mean hinge loss with them, and the share of pairs in the right order before and after."""

    weights: np.ndarray
    loss: float
    accuracy_before: float
    accuracy: float


def ordered_pairs(groups: Sequence[object], ranks: Sequence[float]) -> list[tuple[int, int]]:
    """(better, worse) indices of answers to one prompt (equal `groups`) with different ranks; 1 is the best."""
    members: dict[object, list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault(group, []).append(index)
    return [(a, b) for own in members.values() for a in own for b in own if ranks[a] < ranks[b]]


def fit_weights(
    features: np.ndarray,
    base: np.ndarray,
    pairs: Sequence[tuple[int, int]],
    *,
    margin: float = 1.0,
    penalty: float = 0.01,
) -> Fit:
    """Fit the weights (K,) of features (N, K) beside base scores (N,) to `pairs` of (better, worse) rows; at least one.

    Dual coordinate ascent (Hsieh et al. 2008): each pair has a multiplier in [0, 1 / P], w = sum of multiplier x difference
    over 2 x penalty; one is moved to its optimum at a time until none moves.
    """
    better, worse = np.array(pairs).T
    difference = features[better] - features[worse]  # (P, K)
    given = base[better] - base[worse]  # (P,)
    largest = 1 / len(pairs)
    curvature = (difference**2).sum(1) / (2 * penalty)
    multipliers, weights = np.zeros(len(pairs)), np.zeros(features.shape[1])
    for _ in range(_MOST_ROUNDS):
        moved = 0.0
        for index in np.flatnonzero(curvature):
            slope = margin - given[index] - weights @ difference[index]
            new = min(largest, max(0.0, multipliers[index] + slope / curvature[index]))
            weights = weights + (new - multipliers[index]) * difference[index] / (2 * penalty)
            moved = max(moved, abs(new - multipliers[index]))
            multipliers[index] = new
        if moved < _STILL * largest:
            break
    totals = given + difference @ weights
    loss = float(np.maximum(0.0, margin - totals).mean())
    return Fit(weights, loss, float((given > 0).mean()), float((totals > 0).mean()))
