"""Statistics of paired comparisons. The unit is the root (what a prompt was made from), never the row.

Rows of one root are not independent: an interval over rows would be too narrow. So intervals resample roots and tests
flip signs by root, both on the paired difference after - before of the same prompts, seeds and decoding.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np

from tuningfork.randomness import numpy_generator

DRAWS = 10_000
EXACT_ROOTS = 20
"""Up to this many roots the sign-flip test enumerates all 2^roots patterns."""
MIN_ROOTS = 6
"""Below this no interval is given: even roots that all agree reach only p = 2 / 2^5 = .06 in the sign-flip test, while
the bootstrap would call them certain."""

Values = Sequence[float] | np.ndarray
_CHUNK = 4_000_000


@dataclass(frozen=True)
class Comparison:
    """A paired comparison of two systems on the same rows. Means are over rows; uncertainty is over roots."""

    before: float
    after: float
    difference: float
    ci95: tuple[float, float] | None
    """None with fewer than `MIN_ROOTS` roots"""
    p: float
    """two-sided sign-flip test by root"""
    n: int
    num_roots: int
    effect_size: float | None
    """Cohen's d_z over the roots' mean differences; None where they do not vary"""
    sd: float
    """standard deviation of the roots' mean differences"""


def paired_comparison(
    before: Values,
    after: Values,
    roots: Sequence[Hashable],
    seed: int,
    *,
    draws: int = DRAWS,
    method: Literal["percentile", "bca"] = "percentile",
) -> Comparison:
    """Compare rows (N,) before and after; `roots` (N,) says which rows belong together."""
    first, second = np.asarray(before, dtype=np.float64), np.asarray(after, dtype=np.float64)
    if first.shape != second.shape or first.ndim != 1 or len(first) != len(roots) or not len(first):
        raise ValueError(
            f"need as many before, after and roots, at least one: {first.shape}, {second.shape}, {len(roots)}"
        )
    differences = second - first
    if not np.isfinite(differences).all():
        raise ValueError("before and after must be finite: leave out rows that could not be scored, and count them")
    sums, counts = root_sums(differences, roots)
    enough = len(sums) >= MIN_ROOTS
    return Comparison(
        before=float(first.mean()),
        after=float(second.mean()),
        difference=float(differences.mean()),
        ci95=bootstrap_interval(differences, roots, seed=seed, draws=draws, method=method) if enough else None,
        p=sign_flip_test(differences, roots, seed=seed, draws=draws),
        n=len(first),
        num_roots=len(sums),
        effect_size=cohens_d_z(sums / counts),
        sd=float((sums / counts).std(ddof=1)) if len(sums) > 1 else 0.0,
    )


def root_sums(values: np.ndarray, roots: Sequence[Hashable]) -> tuple[np.ndarray, np.ndarray]:
    """Sums and row counts of each root, (R,) and (R,), in order of first appearance."""
    index: dict[Hashable, int] = {}
    where = np.array([index.setdefault(root, len(index)) for root in roots])
    return np.bincount(where, weights=values), np.bincount(where).astype(np.float64)


def bootstrap_interval(
    values: Values,
    roots: Sequence[Hashable],
    *,
    seed: int,
    level: float = 0.95,
    draws: int = DRAWS,
    method: Literal["percentile", "bca"] = "percentile",
) -> tuple[float, float]:
    """Interval of the mean over rows (N,), resampling whole roots (cluster bootstrap, Davison and Hinkley 1997, 3.8).

    `bca` corrects bias and skew (Efron 1987); the acceleration comes from the jackknife over roots.
    """
    sums, counts = root_sums(np.asarray(values, dtype=np.float64), roots)
    generator = numpy_generator(seed, "bootstrap")
    means = np.empty(draws)
    for rows in _chunks(draws, len(sums)):
        picks = generator.integers(len(sums), size=(rows.stop - rows.start, len(sums)))  # (rows, R)
        means[rows] = sums[picks].sum(1) / counts[picks].sum(1)
    low, high = (1 - level) / 2, (1 + level) / 2
    if method == "bca":
        low, high = _bca_levels(means, sums, counts, low, high)
    interval = np.quantile(means, [low, high])
    return float(interval[0]), float(interval[1])


def _bca_levels(means: np.ndarray, sums: np.ndarray, counts: np.ndarray, *levels: float) -> tuple[float, float]:
    """The two levels moved for bias and acceleration; unchanged where every draw or every root is the same."""
    estimate = sums.sum() / counts.sum()
    below = (means < estimate).mean() + 0.5 * (means == estimate).mean()
    left_out = (sums.sum() - sums) / (counts.sum() - counts) if len(sums) > 1 else sums
    deviations = left_out.mean() - left_out
    scale = float((deviations**2).sum()) ** 1.5
    if not 0 < below < 1 or scale == 0:
        return levels[0], levels[1]
    normal = NormalDist()
    bias, acceleration = normal.inv_cdf(float(below)), float((deviations**3).sum()) / (6 * scale)
    shifted = [bias + normal.inv_cdf(level) for level in levels]
    moved = [normal.cdf(bias + shift / (1 - acceleration * shift)) for shift in shifted]
    return moved[0], moved[1]


def sign_flip_test(values: Values, roots: Sequence[Hashable], *, seed: int, draws: int = DRAWS) -> float:
    """Two-sided p of "the differences (N,) are as likely to be positive as negative", flipping whole roots.

    Exact by enumeration up to `EXACT_ROOTS` roots, else (1 + hits) / (1 + draws).
    """
    sums, _ = root_sums(np.asarray(values, dtype=np.float64), roots)
    bound = abs(sums.sum()) - 1e-9 * np.abs(sums).sum()  # equal sums in another order may differ in the last bit
    if len(sums) <= EXACT_ROOTS:
        totals = np.zeros(1)
        for one in sums:
            totals = np.concatenate([totals + one, totals - one])
        return float((np.abs(totals) >= bound).mean())
    generator, hits = numpy_generator(seed, "sign-flip"), 0
    for rows in _chunks(draws, len(sums)):
        signs = generator.integers(2, size=(rows.stop - rows.start, len(sums)), dtype=np.int8) * 2 - 1  # (rows, R)
        hits += int((np.abs(signs @ sums) >= bound).sum())
    return (1 + hits) / (1 + draws)


def _chunks(draws: int, num_roots: int) -> Iterator[slice]:
    """Slices over the draws that keep the (rows, R) arrays small."""
    size = max(1, _CHUNK // num_roots)
    for start in range(0, draws, size):
        yield slice(start, min(start + size, draws))


def wilson_interval(successes: float, n: int, level: float = 0.95) -> tuple[float, float]:
    """Interval of a share (Wilson 1927); unlike Wald's it has a width at 0/n and n/n."""
    if not 0 <= successes <= n or n < 1:
        raise ValueError(f"need 0 <= successes <= n and n >= 1, not {successes} of {n}")
    z, share = NormalDist().inv_cdf((1 + level) / 2), successes / n
    centre = share + z * z / (2 * n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    low, high = (centre - half) / scale, (centre + half) / scale
    return low if successes else 0.0, high if successes < n else 1.0  # exactly, not up to the last bit


def mcnemar(gained: int, lost: int) -> float:
    """Two-sided p from the discordant pairs: exact binomial below 25 of them, else chi-squared with correction."""
    discordant = gained + lost
    if discordant == 0:
        return 1.0
    if discordant < 25:
        tail = sum(math.comb(discordant, k) for k in range(min(gained, lost) + 1))
        return min(1.0, 2 * tail / 2**discordant)
    chi2 = max(0, abs(gained - lost) - 1) ** 2 / discordant
    return math.erfc(math.sqrt(chi2 / 2))


def cohens_d_z(differences: Values) -> float | None:
    """mean / sd of paired differences; None where they do not vary."""
    array = np.asarray(differences, dtype=np.float64)
    if len(array) < 2 or (deviation := float(array.std(ddof=1))) <= 1e-12 * max(1.0, float(np.abs(array).max())):
        return None
    return float(array.mean()) / deviation


def hedges_correction(degrees: int) -> float:
    """Factor that takes the small-sample bias out of a standardised difference (Hedges 1981): 1 - 3 / (4 df - 1)."""
    return 1 - 3 / (4 * degrees - 1)


def hedges_g(first: Values, second: Values) -> float | None:
    """(mean of second - mean of first) / pooled sd, corrected; for two UNPAIRED samples of two or more."""
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    degrees = len(a) + len(b) - 2
    pooled = math.sqrt(((len(a) - 1) * a.var(ddof=1) + (len(b) - 1) * b.var(ddof=1)) / degrees)
    return float(b.mean() - a.mean()) / pooled * hedges_correction(degrees) if pooled else None


def cliffs_delta(first: Values, second: Values) -> float:
    """P(second > first) - P(second < first) over all pairs, in [-1, 1]; for two UNPAIRED samples."""
    a, b = np.sort(np.asarray(first, dtype=np.float64)), np.asarray(second, dtype=np.float64)
    above, below = np.searchsorted(a, b, side="left").sum(), (len(a) - np.searchsorted(a, b, side="right")).sum()
    return float(above - below) / (len(a) * len(b))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p for a few confirmatory tests (Holm 1979): step-down, cumulative maximum, at most 1."""
    order = np.argsort(p_values, kind="stable")
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        largest = max(largest, (len(p_values) - rank) * p_values[index])
        adjusted[index] = min(1.0, largest)
    return adjusted


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Adjusted p for a screen of many (Benjamini and Hochberg 1995): step-up, cumulative minimum from the largest."""
    order = np.argsort(p_values, kind="stable")[::-1]
    adjusted, smallest = [0.0] * len(p_values), 1.0
    for position, index in enumerate(order):
        smallest = min(smallest, p_values[index] * len(p_values) / (len(p_values) - position))
        adjusted[index] = smallest
    return adjusted


def binary_kl(share: float, base: float) -> float:
    """KL in nats between one yes-or-no choice of probability `share` and one of `base`; inf where base excludes it.

    The least KL a policy must pay a sequence to move the share of responses with some property from `base` to `share`.
    """
    total = 0.0
    for q, p in ((share, base), (1 - share, 1 - base)):
        if q > 0:
            total += q * math.log(q / p) if p > 0 else math.inf
    return total
