"""The result of a race between methods: one record a contestant, curves over KL, and one result over several seeds.

No torch here: the report reads it too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pydantic
from pydantic import Field

from tuningfork.errors import RunError
from tuningfork.evals.combine import combine
from tuningfork.evals.curves import Fit, Form, fit, value_at
from tuningfork.evals.summary import Measure, Summary
from tuningfork.evals.win_rate import WinRate
from tuningfork.settings import Settings

FILE = "race.json"
VERSION = 1


class Look(Settings):
    """A contestant on the monitor prompts, at one point of its training; for best of n, at one n."""

    step: int
    spent: float | None = None
    """seconds of the budget so far"""
    kl: float
    """nats a response; for best of n the bound"""
    gold: float
    """the deciding measure"""
    proxy: float | None = None
    """mean raw score"""
    length: float
    """tokens a response"""
    distinct_2: float | None = None


class Contestant(Settings):
    """One method in one race; over several seeds the means, but for `looks` and `by_seed`."""

    name: str
    kind: str
    """kind of the stage that made it"""
    method: str
    measures: list[Measure]
    """on the test prompts, against the model that all started from"""
    kl: float
    """nats a response on the test prompts; for best of n the bound, which is what it can be at most"""
    seconds: float
    """of the budget; for best of n what the answers to the test prompts cost"""
    stage_seconds: float
    """by the clock, with looks, loading and saving"""
    memory_mb: float
    steps: int | None = None
    wins: dict[str, WinRate] = Field(default_factory=dict)
    """against other contestants, by name; `start` is the model before"""
    looks: list[list[Look]]
    """a curve for each seed"""
    by_seed: list[float] = Field(default_factory=list)
    """the deciding measure on the test prompts under each seed"""

    @property
    def form(self) -> Form:
        """The published law: best of n has its own, whatever trains weights that of reinforcement learning."""
        return "best of n" if self.kind == "best_of" else "reinforcement learning"

    def measure(self, name: str) -> Measure | None:
        """The measure of this name."""
        return next((measure for measure in self.measures if measure.name == name), None)

    def gold_at(self, kl: float) -> tuple[float | None, int]:
        """Mean of the deciding measure where the curves reach `kl`, over the seeds that do, and how many those are."""
        found = [value_at([(look.kl, look.gold) for look in curve], kl) for curve in self.looks]
        known = [value for value in found if value is not None]
        return (sum(known) / len(known) if known else None), len(known)

    @property
    def most_kl(self) -> float:
        """The largest KL of a look, over all seeds."""
        return max((look.kl for curve in self.looks for look in curve), default=0.0)

    def gains(self, what: str) -> list[tuple[float, float]]:
        """(KL, gain over the first look) of all looks of all seeds; `what`: gold or proxy."""
        found = []
        for curve in self.looks:
            first = getattr(curve[0], what) if curve else None
            found += [
                (look.kl, getattr(look, what) - first)
                for look in curve[1:]
                if first is not None and getattr(look, what) is not None
            ]
        return found


class Race(Settings):
    """A race, of one seed or combined over several."""

    version: int = VERSION
    seeds: list[int]
    gold: str
    """the deciding measure on the test prompts"""
    monitor_gold: str
    """the deciding measure on the monitor prompts, of which the curves are"""
    budget: float | None = None
    """seconds of computing that each had"""
    judge: str = ""
    """who compared answers"""
    contestants: list[Contestant]

    def of(self, name: str) -> Contestant:
        """The contestant of this name."""
        return next(contestant for contestant in self.contestants if contestant.name == name)


def fits(contestants: Sequence[Contestant], what: str) -> Fit | None:
    """The published law over all looks of contestants of one form."""
    form = contestants[0].form
    assert all(contestant.form == form for contestant in contestants), "a fit has one form"
    return fit([point for contestant in contestants for point in contestant.gains(what)], form)


def combine_races(races: Sequence[Race]) -> Race:
    """One race over runs that differ in their seed only."""
    if not races:
        raise RunError("no race to combine")
    if len(races) == 1:
        return races[0]
    first = races[0]
    names = [contestant.name for contestant in first.contestants]
    if any([contestant.name for contestant in race.contestants] != names for race in races):
        raise RunError("the seeds were raced with different contestants; run them again with one recipe")
    return first.model_copy(
        update={
            "seeds": [seed for race in races for seed in race.seeds],
            "contestants": [_combine([race.of(name) for race in races]) for name in names],
        }
    )


def _combine(group: Sequence[Contestant]) -> Contestant:
    first = group[0]
    steps = [one.steps for one in group if one.steps is not None]
    return first.model_copy(
        update={
            "measures": combine([Summary(measures=one.measures) for one in group]).measures,
            "kl": _mean([one.kl for one in group]),
            "seconds": _mean([one.seconds for one in group]),
            "stage_seconds": _mean([one.stage_seconds for one in group]),
            "memory_mb": max(one.memory_mb for one in group),
            "steps": round(_mean(steps)) if steps else None,
            "wins": {name: _combine_wins([one.wins[name] for one in group]) for name in first.wins},
            "looks": [curve for one in group for curve in one.looks],
            "by_seed": [value for one in group for value in one.by_seed],
        }
    )


def _combine_wins(group: Sequence[WinRate]) -> WinRate:
    """Counts add up; the interval is the mean of the seeds' ends, as for measures."""
    ends = [one.ci95 for one in group if one.ci95 is not None]
    complete = len(ends) == len(group)
    return WinRate(
        **{name: sum(getattr(one, name) for one in group) for name in ("wins", "ties", "losses", "inconsistent")},
        rate=_mean([one.rate for one in group]),
        ci95=(_mean([low for low, _ in ends]), _mean([high for _, high in ends])) if complete else None,
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def looks_of(metrics: Sequence[Mapping[str, Any]], gold: str) -> list[Look]:
    """The looks among the rows of a stage's metrics: those of a monitor, or of best of n, where a step is an n."""
    found = []
    for row in metrics:
        kl, value = row.get("monitor/kl", row.get("kl_bound")), row.get(f"gold/{gold}")
        if kl is None or value is None:
            continue
        found.append(
            Look(
                step=row["step"],
                spent=row.get("spent"),
                kl=kl,
                gold=value,
                proxy=row.get("monitor/score_mean", row.get("score_mean") if "kl_bound" in row else None),
                length=row.get("monitor/response_length", row.get("response_length", 0.0)),
                distinct_2=row.get("monitor/distinct_2"),
            )
        )
    return found


def write_race(race: Race, path: Path) -> None:
    """Write `race.json`."""
    path.write_text(race.model_dump_json(indent=1) + "\n", encoding="utf-8")


def read_race(path: Path) -> Race:
    """Read `race.json`; RunError where it is not one of this version."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(data, dict) and data.get("version") != VERSION:
            raise RunError(f"{path}: a race of version {data.get('version')}, this Tuningfork reads {VERSION}")
        return Race.model_validate(data)
    except (json.JSONDecodeError, pydantic.ValidationError) as error:
        raise RunError(f"{path}: not a race ({str(error).splitlines()[0]}); run `race` again") from error
