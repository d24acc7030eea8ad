"""Are differences of scores probabilities? Expected calibration error, Brier score, reliability curve, one temperature.

The probability that the better answer is better is sigma(d / T), d the difference of their scores in log odds. Every
comparison is looked at from the side the score takes (p >= 1/2, folded): asked only whether the better one is better, the
answer would always be yes. Guo et al. 2017 (1706.04599) for the error and the temperature, Brier 1950. No torch.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from tuningfork.randomness import numpy_generator

Values = Sequence[float] | np.ndarray
BINS = 10
_STEPS = 200


@dataclass(frozen=True)
class Bin:
    """One bin of a reliability curve."""

    low: float
    high: float
    count: int
    confidence: float
    """mean probability"""
    frequency: float
    """how often it came true"""


@dataclass(frozen=True)
class Calibration:
    """How far probabilities are from frequencies."""

    ece: float
    """mean gap between probability and frequency over the bins, each counted by its size"""
    brier: float
    """mean squared error of the probability"""
    log_loss: float
    """nats"""
    bins: tuple[Bin, ...]


def reliability(
    probabilities: Values, outcomes: Values, bins: int = BINS, low: float = 0.0, high: float = 1.0
) -> tuple[Bin, ...]:
    """Bins of equal width over [low, high]; the lowest holds its lower edge, the others their upper one; empty ones are left
    out."""
    p, y = np.asarray(probabilities, dtype=np.float64), np.asarray(outcomes, dtype=np.float64)
    edges = np.linspace(low, high, bins + 1)
    place = np.clip(np.searchsorted(edges[1:-1], p, side="left"), 0, bins - 1)
    found = []
    for index in range(bins):
        inside = place == index
        if inside.any():
            found.append(
                Bin(
                    float(edges[index]),
                    float(edges[index + 1]),
                    int(inside.sum()),
                    float(p[inside].mean()),
                    float(y[inside].mean()),
                )
            )
    return tuple(found)


def expected_calibration_error(bins: Sequence[Bin]) -> float:
    """Sum over the bins of their share times |frequency - confidence|."""
    total = sum(one.count for one in bins)
    return sum(one.count * abs(one.frequency - one.confidence) for one in bins) / total


def brier_score(probabilities: Values, outcomes: Values) -> float:
    """Mean of (probability - outcome)^2."""
    return float(((np.asarray(probabilities) - np.asarray(outcomes)) ** 2).mean())


def calibration(differences: Values, temperature: float = 1.0) -> Calibration:
    """Calibration of sigma(d / T) for differences (N,) of better less worse, folded."""
    d = np.asarray(differences, dtype=np.float64) / temperature
    confidence = sigmoid(np.abs(d))
    right = (np.sign(d) + 1) / 2
    bins = reliability(confidence, right, low=0.5)
    return Calibration(
        expected_calibration_error(bins), brier_score(sigmoid(d), np.ones_like(d)), float(log_losses(d).mean()), bins
    )


def fit_temperature(differences: Values) -> float | None:
    """The T that makes the differences (N,) likeliest; None where no T > 0 does: the better answers score no higher.

    The loss is convex in 1 / T, so its slope is bisected. Where every difference is above 0 it falls for ever, and T stays at
    a fiftieth of their mean size.
    """
    d = np.asarray(differences, dtype=np.float64)
    size = float(np.abs(d).mean())
    if not size > 0 or d.mean() <= 0:
        return None
    low, high = 0.0, 50.0 / size
    if _slope(d, high) < 0:
        return 1.0 / high
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if _slope(d, middle) < 0 else (low, middle)
    return 2.0 / (low + high)


def cross_fitted(differences: Values, roots: Sequence[Hashable], *, seed: int) -> np.ndarray | None:
    """The differences (N,) over temperatures that were fitted on the other half of the roots; None where one cannot be."""
    d = np.asarray(differences, dtype=np.float64)
    names = list(dict.fromkeys(roots))
    order = numpy_generator(seed, "temperature").permutation(len(names))
    half = {names[index]: place % 2 for place, index in enumerate(order.tolist())}
    side = np.array([half[root] for root in roots])
    found = np.empty_like(d)
    for part in (0, 1):
        temperature = fit_temperature(d[side != part]) if (side != part).any() else None
        if temperature is None:
            return None
        found[side == part] = d[side == part] / temperature
    return found


def log_losses(d: np.ndarray) -> np.ndarray:
    """-log sigma(d), finite for every finite d."""
    return np.logaddexp(0.0, -d)


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)) without overflow."""
    return np.exp(-np.logaddexp(0.0, -x))


def _slope(d: np.ndarray, inverse: float) -> float:
    """Derivative of the loss by 1 / T."""
    return float(-(d * sigmoid(-inverse * d)).mean())
