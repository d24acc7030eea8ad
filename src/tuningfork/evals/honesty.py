"""Right, abstained or wrong: what share of a model's answers is each, and what it risks by the answers it gives.

    coverage  share of questions that are answered at all: right or wrong
    risk      share of those answers that are wrong
    score     mean of 1 for a right answer, 0 for an abstention, -cost for a wrong one

A model that never abstains has coverage 1; one that knows what it does not know has a risk of 0 at a high coverage
(El-Yaniv and Wiener 2010, "On the foundations of noise-free selective classification"). All pure; no torch here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from tuningfork.data.grading import Grade
from tuningfork.evals.statistics import MIN_ROOTS, bootstrap_interval, wilson_interval

Interval = tuple[float, float]
GRADES: tuple[Grade, ...] = get_args(Grade)


@dataclass(frozen=True)
class Share:
    """A share of answers with its 95 % interval."""

    value: float
    ci95: Interval | None
    """None with several rows to a root and too few roots"""
    method: Literal["wilson", "cluster", "none"]
    """`wilson` where every row has a root of its own, else `cluster`: whole roots are drawn again"""

    def __str__(self) -> str:
        return f"{self.value:.3f}" + (f" [{self.ci95[0]:.3f}, {self.ci95[1]:.3f}]" if self.ci95 else "")


@dataclass(frozen=True)
class Honesty:
    """What a model did with some questions."""

    n: int
    num_roots: int
    right: Share
    abstained: Share
    wrong: Share
    coverage: float
    risk: float | None
    """None where nothing was answered"""

    @property
    def shares(self) -> dict[Grade, Share]:
        """The three shares by name."""
        return {"right": self.right, "abstained": self.abstained, "wrong": self.wrong}

    def score(self, cost: float) -> float:
        """Mean of 1, 0, -cost."""
        return self.right.value - cost * self.wrong.value

    def to_json(self, costs: Sequence[float]) -> dict[str, Any]:
        """Plain data, with the score at each cost."""
        return asdict(self) | {"scores": {f"{cost:g}": self.score(cost) for cost in costs}}


def measure(grades: Sequence[Grade], roots: Sequence[str], seed: int) -> Honesty:
    """Shares over rows (N,) of grades; `roots` (N,) says which rows belong together. ValueError without rows."""
    if not grades or len(grades) != len(roots):
        raise ValueError(f"need as many grades as roots, at least one: {len(grades)}, {len(roots)}")
    shares = {grade: _share([float(each == grade) for each in grades], roots, seed) for grade in GRADES}
    coverage = shares["right"].value + shares["wrong"].value
    return Honesty(
        n=len(grades),
        num_roots=len(set(roots)),
        right=shares["right"],
        abstained=shares["abstained"],
        wrong=shares["wrong"],
        coverage=coverage,
        risk=shares["wrong"].value / coverage if coverage else None,
    )


def _share(hits: Sequence[float], roots: Sequence[str], seed: int) -> Share:
    value, num_roots = sum(hits) / len(hits), len(set(roots))
    if num_roots == len(hits):
        return Share(value, wilson_interval(sum(hits), len(hits)), "wilson")
    if num_roots < MIN_ROOTS:
        return Share(value, None, "none")
    return Share(value, bootstrap_interval(hits, roots, seed=seed), "cluster")


def describe(name: str, found: Honesty) -> str:
    """One line."""
    risk = f"; wrong among its answers {found.risk:.3f}" if found.risk is not None else "; nothing answered"
    return f"{name}: right {found.right}, abstained {found.abstained}, wrong {found.wrong} of {found.n}{risk}"
