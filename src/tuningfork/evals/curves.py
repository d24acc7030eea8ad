"""Curves over KL: what a method reaches at a given distance, and the published laws of over-optimisation. No torch here.

Gao, Schulman and Hilton 2022 (2210.10760), with d = sqrt(KL) and R the gain over the model before:
    best of n                R(d) = d (a - b d)
    reinforcement learning   R(d) = d (a - b log d)
Both are linear in a and b, so least squares has one solution.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Points = Sequence[tuple[float, float]]
"""(KL in nats a response, value), in the order of training"""

Form = Literal["best of n", "reinforcement learning"]

LEAST_DISTANCE = 0.1
"""Points nearer than this (0.01 nats) have no part in a fit: log d is singular at 0, and their gain is noise."""


def value_at(points: Points, kl: float) -> float | None:
    """The value where a curve first reaches `kl`, linear between two looks; None for one that never does."""
    before: tuple[float, float] | None = None
    for at, value in points:
        if at >= kl:
            if before is None or at == before[0]:
                return value
            weight = (kl - before[0]) / (at - before[0])
            return before[1] + weight * (value - before[1])
        before = (at, value)
    return None


@dataclass(frozen=True)
class Fit:
    """R(d) = d (a - b d) or d (a - b log d), fitted to `num_points`; d = sqrt(KL)."""

    form: Form
    a: float
    b: float
    r_squared: float | None
    """share of the gains' variance that the curve explains; None where they do not vary"""
    num_points: int

    def gain(self, distance: float) -> float:
        """R at d."""
        if distance <= 0:
            return 0.0
        return distance * (self.a - self.b * (distance if self.form == "best of n" else math.log(distance)))

    @property
    def peak(self) -> tuple[float, float] | None:
        """(KL, R) of the maximum; None for a curve that only rises, or only falls."""
        if self.b <= 0:
            return None
        if self.form == "best of n":
            return None if self.a <= 0 else ((self.a / (2 * self.b)) ** 2, self.a**2 / (4 * self.b))
        exponent = self.a / self.b - 1  # log d at the peak
        return (math.exp(2 * exponent), self.b * math.exp(exponent)) if exponent < 20 else None


def fit(points: Points, form: Form) -> Fit | None:
    """Least squares over (KL, gain) points; None with fewer than three that lie far enough from the start."""
    usable = [(math.sqrt(kl), gain) for kl, gain in points if kl >= LEAST_DISTANCE**2]
    if len(usable) < 3:
        return None
    distance, gain = (np.array(values, dtype=np.float64) for values in zip(*usable, strict=True))
    bend = distance if form == "best of n" else np.log(distance)
    (a, b), *_ = np.linalg.lstsq(np.stack([distance, -distance * bend], axis=1), gain, rcond=None)
    rest = float(np.square(gain - distance * (a - b * bend)).sum())
    total = float(np.square(gain - gain.mean()).sum())
    return Fit(form, float(a), float(b), 1 - rest / total if total > 0 else None, len(usable))
