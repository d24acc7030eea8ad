"""Which of two answers a judge prefers: asked in both orders, with ties. No torch here.

A judge that changes its mind with the order has no opinion: such a pair is a tie, and is counted. Ties count half, so the
interval is a bootstrap over roots and not Wilson's.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from tuningfork.errors import RecipeError
from tuningfork.evals.statistics import MIN_ROOTS, bootstrap_interval
from tuningfork.settings import Settings

if TYPE_CHECKING:
    from tuningfork.evals.gold import Answer, GoldJudge, GoldMeasure

Row = Mapping[str, Any]
Choice = Literal["a", "b", "tie"]


class WinRate(Settings):
    """How often one system's answers are preferred to another's."""

    wins: int
    ties: int
    losses: int
    inconsistent: int
    """ties that are none by either order alone: the judge changed its mind with the order"""
    rate: float
    """share of prompts won, ties count half"""
    ci95: tuple[float, float] | None = None
    """over roots; None with too few of them"""


class PairJudge(Protocol):
    """Compares answers to the prompts of rows."""

    def choose(self, rows: Sequence[Row], first: Sequence[Answer], second: Sequence[Answer]) -> list[Choice]:
        """For each row the preferred answer: a is the one shown first."""
        ...


class GoldPairs:
    """Prefers the answer whose measure is better by a gold judge; equal ones tie, and so do those it does not measure."""

    def __init__(self, gold: GoldJudge, measure: GoldMeasure) -> None:
        self.gold, self.name, self.sign = gold, measure.name, -1.0 if measure.direction == "lower" else 1.0

    def choose(self, rows: Sequence[Row], first: Sequence[Answer], second: Sequence[Answer]) -> list[Choice]:
        """For each row the preferred answer."""
        a, b = (
            [self.sign * found.get(self.name, 0.0) for found in self.gold.judge(rows, answers)]
            for answers in (first, second)
        )
        return ["tie" if x == y else "a" if x > y else "b" for x, y in zip(a, b, strict=True)]


class RaterPairs:
    """A simulated rater of a world, who may err; each order is another question to them."""

    def __init__(self, world: str, truth: Path, seed: int, flip_rate: float) -> None:
        try:
            self.rater = importlib.import_module(f"tuningfork.worlds.{world}.rater").load_rater(truth, seed, flip_rate)
        except ModuleNotFoundError as error:
            raise RecipeError(f"judge: {world} is no world with raters; use `judge: {{by: gold}}`") from error

    def choose(self, rows: Sequence[Row], first: Sequence[Answer], second: Sequence[Answer]) -> list[Choice]:
        """For each row the preferred answer."""
        return [
            self.rater.compare(
                f"{row['id']}\x1f{a.text}\x1f{b.text}",
                row["root"],
                a.text,
                b.text,
                a_ended=a.has_ended,
                b_ended=b.has_ended,
            )
            for row, a, b in zip(rows, first, second, strict=True)
        ]


def win_rate(
    judge: PairJudge, rows: Sequence[Row], before: Sequence[Answer], after: Sequence[Answer], seed: int
) -> WinRate:
    """How often `after` is preferred to `before`, each pair shown in both orders."""
    return count(judge.choose(rows, before, after), judge.choose(rows, after, before), [r["root"] for r in rows], seed)


def count(forward: Sequence[Choice], backward: Sequence[Choice], roots: Sequence[str], seed: int) -> WinRate:
    """Verdicts on (before, after) and on (after, before), as a win rate of `after`."""
    turned: dict[Choice, Choice] = {"a": "b", "b": "a", "tie": "tie"}
    agreed = [one if one == turned[other] else "tie" for one, other in zip(forward, backward, strict=True)]
    values = [{"a": 0.0, "tie": 0.5, "b": 1.0}[choice] for choice in agreed]
    disputed = sum(one != turned[other] for one, other in zip(forward, backward, strict=True))
    return WinRate(
        wins=agreed.count("b"),
        ties=agreed.count("tie"),
        losses=agreed.count("a"),
        inconsistent=disputed,
        rate=sum(values) / len(values),
        ci95=bootstrap_interval(values, roots, seed=seed) if len(set(roots)) >= MIN_ROOTS else None,
    )
