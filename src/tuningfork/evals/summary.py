"""`summary.json`: what a run measured, in the form the verdict, the report and other programs read."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

import pydantic
from pydantic import Field, model_validator

from tuningfork.errors import RunError
from tuningfork.evals.statistics import Comparison
from tuningfork.settings import Settings

VERSION = 1

VerdictKind = Literal["better", "worse", "cannot_tell", "broken"]
Role = Literal["headline", "guard", "proxy", "info"]
Direction = Literal["higher", "lower", "same"]


class Limit(Settings):
    """What a guard must keep to."""

    on: Literal["after", "ratio", "difference"] = "after"
    """What is held against it: the value after, after / before, or after - before"""
    minimum: float | None = None
    maximum: float | None = None

    @model_validator(mode="after")
    def _has_a_bound(self) -> Self:
        if self.minimum is None and self.maximum is None:
            raise ValueError("a limit needs a minimum or a maximum")
        return self

    def value(self, before: float | None, after: float | None) -> float | None:
        """The number held against the limit; None where it does not exist."""
        if after is None or (self.on != "after" and before is None):
            return None
        if self.on == "after" or before is None:
            return after
        if self.on == "difference":
            return after - before
        return after / before if before else None

    def holds(self, before: float | None, after: float | None) -> bool:
        """Whether the limit is kept; a value that does not exist keeps no limit."""
        value = self.value(before, after)
        if value is None:
            return False
        return (self.minimum is None or value >= self.minimum) and (self.maximum is None or value <= self.maximum)

    def __str__(self) -> str:
        suffix = {"after": "", "ratio": " × before", "difference": " change"}[self.on]
        if self.minimum is not None and self.maximum is not None:
            return f"{self.minimum:g} to {self.maximum:g}{suffix}"
        return (f"at least {self.minimum:g}" if self.minimum is not None else f"at most {self.maximum:g}") + suffix


class SeedValue(Settings):
    """One measure under one training seed."""

    seed: int
    before: float | None
    after: float | None
    difference: float | None


class Measure(Settings):
    """One thing measured before and after. `p_holm` and `better` are filled in by the verdict."""

    name: str
    role: Role
    """headline: what the run is for, judged by something the reward never saw. guard: must keep its limit. proxy: what
    was optimised. info: shown, decides nothing"""
    direction: Direction
    """Which way is good; `same` where neither is"""
    before: float | None
    """None where it could not be measured"""
    after: float | None
    difference: float | None = None
    ci95: tuple[float, float] | None = None
    p: float | None = Field(default=None, ge=0, le=1)
    p_holm: float | None = None
    n: int = 0
    num_roots: int = 0
    effect_size: float | None = None
    sd: float | None = None
    better: bool | None = None
    limit: Limit | None = None
    per_seed: list[SeedValue] = Field(default_factory=list)
    label: str = ""
    unit: str = ""
    definition: str = ""

    @model_validator(mode="after")
    def _guards_have_limits(self) -> Self:
        if (self.role == "guard") != (self.limit is not None):
            raise ValueError(f"{self.name}: a guard needs a limit, and only a guard has one")
        return self

    @property
    def title(self) -> str:
        """The name in plain words."""
        return self.label or self.name.replace("_", " ")

    @property
    def keeps_limit(self) -> bool:
        """Whether a guard's limit holds, in the mean and on every training seed; True for what has no limit."""
        values = [(self.before, self.after), *((seed.before, seed.after) for seed in self.per_seed)]
        return self.limit is None or all(self.limit.holds(before, after) for before, after in values)

    @property
    def seed_spread(self) -> float | None:
        """Standard deviation of the difference over training seeds; None with fewer than two."""
        values = [seed.difference for seed in self.per_seed if seed.difference is not None]
        if len(values) < 2:
            return None
        mean = sum(values) / len(values)
        return math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))


class GateRecord(Settings):
    """One acceptance check of one stage."""

    stage: str
    name: str
    passed: bool
    message: str
    figures: dict[str, Any] = Field(default_factory=dict)
    seed: int | None = None


class LedgerEntry(Settings):
    """One fixed probe after one stage (the forgetting ledger)."""

    stage: str
    probe: str
    value: float | None
    direction: Direction = "higher"


class Regression(Settings):
    """A prompt that was answered well before and is not any more."""

    prompt: str
    before: str
    after: str
    reason: str = ""
    root: str = ""
    seed: int | None = None


class Summary(Settings):
    """Everything the verdict and the top of the report need."""

    version: int = VERSION
    recipe: str = ""
    verdict: VerdictKind | None = None
    """None until judged"""
    verdict_text: str = ""
    reasons: list[str] = Field(default_factory=list)
    measures: list[Measure] = Field(default_factory=list)
    kl_per_sequence: float | None = None
    """Nats a response, policy against reference"""
    kl_least: float | None = None
    """Nats: the least that could buy the change of the headline share"""
    seconds: float | None = None
    peak_memory_mb: float | None = None
    seeds: list[int] = Field(default_factory=list)
    gates: list[GateRecord] = Field(default_factory=list)
    ledger: list[LedgerEntry] = Field(default_factory=list)
    regressions: list[Regression] = Field(default_factory=list)
    num_regressions: int | None = None
    """How many there are in all, where `regressions` shows only some"""
    test_reads: int = 1
    """How often the test prompts were read with this run's settings in view"""

    def of(self, *roles: Role) -> list[Measure]:
        """The measures of these roles, in order."""
        return [measure for measure in self.measures if measure.role in roles]


def measure(
    name: str,
    comparison: Comparison,
    *,
    role: Role,
    direction: Direction,
    seed: int,
    limit: Limit | None = None,
    label: str = "",
    unit: str = "",
    definition: str = "",
) -> Measure:
    """A measure from a paired comparison of one seed."""
    before, after, difference = comparison.before, comparison.after, comparison.difference
    return Measure(
        name=name, role=role, direction=direction, limit=limit, label=label, unit=unit, definition=definition,
        before=before, after=after, difference=difference, ci95=comparison.ci95, p=comparison.p, n=comparison.n,
        num_roots=comparison.num_roots, effect_size=comparison.effect_size, sd=comparison.sd,
        per_seed=[SeedValue(seed=seed, before=before, after=after, difference=difference)],
    )  # fmt: skip


def point_measure(
    name: str,
    before: float | None,
    after: float | None,
    *,
    role: Role,
    direction: Direction,
    seed: int,
    limit: Limit | None = None,
    label: str = "",
    unit: str = "",
    definition: str = "",
) -> Measure:
    """A measure of a whole set (perplexity, variety) that has no interval. Values that are not finite become None."""
    first, second = (value if value is not None and math.isfinite(value) else None for value in (before, after))
    difference = second - first if first is not None and second is not None else None
    return Measure(
        name=name, role=role, direction=direction, limit=limit, label=label, unit=unit, definition=definition,
        before=first, after=second, difference=difference,
        per_seed=[SeedValue(seed=seed, before=first, after=second, difference=difference)],
    )  # fmt: skip


def write_summary(summary: Summary, path: Path) -> None:
    """Write `summary.json`."""
    path.write_text(summary.model_dump_json(indent=2) + "\n", encoding="utf-8")


def read_summary(path: Path) -> Summary:
    """Read `summary.json`; RunError where it is not one of this version."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(data, dict) and data.get("version") != VERSION:
            version = data.get("version")
            raise RunError(
                f"{path}: summary of version {version}, this Tuningfork reads {VERSION}; run `evaluate` again"
            )
        return Summary.model_validate(data)
    except (json.JSONDecodeError, pydantic.ValidationError) as error:
        raise RunError(f"{path}: not a summary ({str(error).splitlines()[0]}); run `evaluate` again") from error


def mean(values: Sequence[float | None]) -> float | None:
    """Mean of the values; None if any is missing, because a mean of what is left would flatter."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None
