"""What labels buy: held-out accuracy as a function of their number, and what more of them would buy.

Fitted is accuracy(n) = c - a n^-b with c in [0.5, 1] and a >= 0 (the power law of learning curves; Hestness et al. 2017,
1712.00409), by least squares over a grid of b. Intervals resample the held-out roots, the same ones for every point of the
curve, and fit again: they hold what the held-out set leaves open, not how another training would have turned out.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from tuningfork.evals.numbers import signed
from tuningfork.evals.statistics import MIN_ROOTS
from tuningfork.randomness import numpy_generator

DRAWS = 500
MIN_POINTS = 4
"""A curve with three free numbers needs four points before it says anything about a fifth."""
EXPONENTS = np.linspace(0.1, 1.5, 29)
CEILING = 1.0


@dataclass(frozen=True)
class Curve:
    """accuracy(n) = limit - scale n^-exponent."""

    limit: float
    scale: float
    exponent: float

    def at(self, labels: float) -> float:
        """Accuracy with this many labels."""
        return self.limit - self.scale * labels**-self.exponent

    def labels_for(self, accuracy: float) -> float:
        """Labels that this accuracy needs; infinite where the curve does not get there."""
        if accuracy >= self.limit or self.scale <= 0:
            return math.inf
        return (self.scale / (self.limit - accuracy)) ** (1 / self.exponent)


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval over held-out roots; no interval of too few roots."""

    value: float
    ci95: tuple[float, float] | None


@dataclass(frozen=True)
class Outlook:
    """What the labels so far bought, and what more would buy. Accuracies as shares, costs in labels."""

    labels: int
    accuracy: Estimate
    last_labels: int
    last_gain: Estimate | None
    """accuracy that the last `last_labels` labels bought; None after the first round"""
    next_labels: int
    next_gain: Estimate | None
    """accuracy that `next_labels` more would buy; None with fewer than `MIN_POINTS` rounds"""
    labels_a_point: Estimate | None
    """labels that the next percentage point would take; infinite where the curve does not reach it"""
    limit: Estimate | None
    """accuracy with labels without end, by the fitted curve"""


def fit_curve(labels: Sequence[float], accuracies: Sequence[float]) -> Curve:
    """The power law nearest to the points (least squares); a flat one where accuracy does not rise."""
    n, y = np.asarray(labels, dtype=np.float64), np.asarray(accuracies, dtype=np.float64)
    limits, scales, errors = _fits(n, y[None, :])
    best = int(errors[0].argmin())
    return Curve(float(limits[0, best]), float(scales[0, best]), float(EXPONENTS[best]))


def outlook(
    labels: Sequence[int],
    hits: Sequence[Sequence[float]],
    roots: Sequence[Hashable],
    *,
    next_labels: int,
    seed: int = 0,
    draws: int = DRAWS,
) -> Outlook:
    """The outlook after rounds with `labels` (R,) labels each, rising; hits (R, N): 1 right, 0 wrong, half a tie, of each
    held-out pair, whose roots are `roots` (N,)."""
    n, right = np.asarray(labels, dtype=np.float64), np.asarray(hits, dtype=np.float64)
    if right.shape != (len(labels), len(roots)) or not len(roots) or (np.diff(n) <= 0).any():
        raise ValueError("need rising numbers of labels, and as many rows of hits, one column for each held-out pair")
    curves = _resampled(right, roots, seed, draws)  # (1 + draws, R), the first as measured
    enough = len(set(roots)) >= MIN_ROOTS

    def estimate(values: np.ndarray) -> Estimate:
        low, high = np.quantile(values[1:], [0.025, 0.975], method="nearest") if enough else (0.0, 0.0)
        return Estimate(float(values[0]), (float(low), float(high)) if enough else None)

    last = int(n[-1] - n[-2]) if len(n) > 1 else int(n[-1])
    can_fit = len(n) >= MIN_POINTS
    future = _future(n, curves, next_labels) if can_fit else None
    return Outlook(
        labels=int(n[-1]),
        accuracy=estimate(curves[:, -1]),
        last_labels=last,
        last_gain=estimate(curves[:, -1] - curves[:, -2]) if len(n) > 1 else None,
        next_labels=next_labels,
        next_gain=estimate(future[0]) if future else None,
        labels_a_point=estimate(future[1]) if future else None,
        limit=estimate(future[2]) if future else None,
    )


def describe(found: Outlook) -> str:
    """What was bought and what more would buy, in one line for a person."""
    text = f"{found.labels:,} labels, accuracy {_share(found.accuracy)}"
    if found.last_gain is not None:
        text += f"; the last {found.last_labels:,} bought {_points(found.last_gain)} points"
    if found.next_gain is None or found.labels_a_point is None or found.limit is None:
        return f"{text}; {MIN_POINTS} rounds are needed to say what more would buy"
    text += f"; {found.next_labels:,} more would buy {_points(found.next_gain)}"
    cost, ends = found.labels_a_point.value, found.labels_a_point.ci95
    if math.isinf(cost):
        return f"{text}; one more point is beyond the curve, which ends at {_share(found.limit)}"
    between = f" [{_count(ends[0])}, {_count(ends[1])}]" if ends else ""
    return f"{text}; one more point takes {_count(cost)}{between} labels"


def _share(estimate: Estimate) -> str:
    ends = f" [{estimate.ci95[0]:.3f}, {estimate.ci95[1]:.3f}]" if estimate.ci95 else ""
    return f"{estimate.value:.3f}{ends}"


def _points(estimate: Estimate) -> str:
    ends = f" [{signed(100 * estimate.ci95[0])}, {signed(100 * estimate.ci95[1])}]" if estimate.ci95 else ""
    return f"{signed(100 * estimate.value)}{ends}"


def _count(labels: float) -> str:
    return "∞" if math.isinf(labels) else f"{labels:,.0f}"


def _future(n: np.ndarray, curves: np.ndarray, more: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each curve (B, R): gain of `more` labels, labels for one more point, limit; (B,) each, by the fitted curve."""
    limits, scales, errors = _fits(n, curves)
    best = errors.argmin(1)
    rows = np.arange(len(curves))
    limit, scale, exponent = limits[rows, best], scales[rows, best], EXPONENTS[best]
    now = limit - scale * n[-1] ** -exponent
    gain = limit - scale * (n[-1] + more) ** -exponent - now
    room = limit - (now + 0.01)
    reachable = room > 1e-9
    needed = np.where(reachable, scale / np.where(reachable, room, 1.0), np.inf) ** (1 / exponent)
    return gain, needed - n[-1], limit


def _fits(n: np.ndarray, curves: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Limit, scale and squared error (B, E) of the best curve for each row (B, R) and exponent (E,)."""
    x = n[None, :] ** -EXPONENTS[:, None]  # (E, R)
    centred = x - x.mean(1, keepdims=True)
    spread = (centred**2).sum(1)
    scale = -(curves @ centred.T) / np.where(spread > 0, spread, 1.0)  # (B, E): accuracy falls with n^-b
    scale = np.maximum(scale, 0.0)
    limit = curves.mean(1)[:, None] + scale * x.mean(1)
    # beyond the ceiling the limit is held there, and the scale is fitted alone; nothing falls below a coin
    above = limit > CEILING
    alone = np.maximum(0.0, ((CEILING - curves) @ x.T) / (x**2).sum(1))
    scale, limit = np.where(above, alone, scale), np.where(above, CEILING, limit)
    limit = np.maximum(limit, 0.5)
    errors = ((curves[:, None, :] - (limit[:, :, None] - scale[:, :, None] * x)) ** 2).sum(2)
    return limit, scale, errors


def _resampled(right: np.ndarray, roots: Sequence[Hashable], seed: int, draws: int) -> np.ndarray:
    """Accuracies (1 + draws, R): as measured, and with the roots drawn again."""
    index: dict[Hashable, int] = {}
    where = np.array([index.setdefault(root, len(index)) for root in roots])
    counts = np.bincount(where).astype(np.float64)  # (roots,)
    sums = np.stack([np.bincount(where, weights=row) for row in right])  # (R, roots)
    times = numpy_generator(seed, "learning curve").multinomial(
        len(counts), np.full(len(counts), 1 / len(counts)), draws
    )
    weights = np.vstack([np.ones(len(counts)), times])  # (1 + draws, roots)
    return (weights @ sums.T) / (weights @ counts)[:, None]
