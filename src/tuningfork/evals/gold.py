"""Gold judges: what a run is really for, judged by something that is never part of a reward or of a training set.

A gold judge is found by name: the module `gold` of a world (`worlds/<name>/gold.py`), or a module of `evals` that has
`load_gold(folder)`. It says what it measures and judges one answer at a time, or two answers to the same prompt.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tuningfork.errors import RecipeError
from tuningfork.evals.statistics import paired_comparison
from tuningfork.evals.summary import Direction, Limit, Measure, Regression, Role, measure

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Answer:
    """A model's response as text, and whether it ended by itself (EOS)."""

    text: str
    has_ended: bool


@dataclass(frozen=True)
class GoldMeasure:
    """One thing a gold judge measures."""

    name: str
    role: Role
    direction: Direction
    definition: str
    label: str = ""
    limit: Limit | None = None


class GoldJudge(Protocol):
    """Judges answers by a truth that training never sees."""

    measures: Sequence[GoldMeasure]

    def judge(self, rows: Sequence[Row], answers: Sequence[Answer]) -> list[dict[str, float]]:
        """For each answer the measures that apply to its prompt's row, by name; rows say which ones apply."""
        ...

    def compare(self, rows: Sequence[Row], before: Sequence[Answer], after: Sequence[Answer]) -> list[dict[str, float]]:
        """Measures of a pair of answers to the same prompt (what changed), by name."""
        ...


def load_gold(name: str, folder: Path) -> GoldJudge:
    """The gold judge `name` with its knowledge in `folder`; RecipeError when there is none of that name."""
    for module in (f"tuningfork.worlds.{name}.gold", f"tuningfork.evals.{name}"):
        if importlib.util.find_spec(module.rpartition(".")[0]) and importlib.util.find_spec(module):
            return importlib.import_module(module).load_gold(folder)
    raise RecipeError(
        f"no gold judge {name!r}: it is a world (colours) or a module of evals with load_gold (sentiment)"
    )


@dataclass(frozen=True)
class Judged:
    """What a gold judge found of answers before and after, one dictionary of measures a row."""

    before: Sequence[Mapping[str, float]]
    after: Sequence[Mapping[str, float]]


def judge_both(
    gold: GoldJudge | None, rows: Sequence[Row], before: Sequence[Answer], after: Sequence[Answer]
) -> Judged:
    """Measures of each answer before and after; what changed counts as 0 before. Without a judge nothing is found."""
    if gold is None:
        return Judged([{} for _ in rows], [{} for _ in rows])
    old, new = gold.judge(rows, before), gold.judge(rows, after)
    changed = gold.compare(rows, before, after)
    return Judged(
        [values | dict.fromkeys(change, 0.0) for values, change in zip(old, changed, strict=True)],
        [values | change for values, change in zip(new, changed, strict=True)],
    )


def gold_measures(
    gold: GoldJudge | None, limits: Mapping[str, Limit], rows: Sequence[Row], judged: Judged, seed: int
) -> list[Measure]:
    """Paired comparisons of everything the judge measures; `limits` make guards of measures, or move a guard's limit."""
    kinds = list(gold.measures) if gold else []
    for name in limits:
        if name not in {kind.name for kind in kinds}:
            known = ", ".join(kind.name for kind in kinds) or "none"
            raise RecipeError(f"evaluate.limits: the gold judge has no measure {name!r}; it has {known}")
    found = []
    for kind in kinds:
        where = [index for index, values in enumerate(judged.after) if kind.name in values]
        if not where:
            continue
        comparison = paired_comparison(
            [judged.before[index][kind.name] for index in where],
            [judged.after[index][kind.name] for index in where],
            [rows[index]["root"] for index in where],
            seed,
        )
        limit = limits.get(kind.name, kind.limit)
        found.append(
            measure(
                kind.name,
                comparison,
                role="guard" if limit else kind.role,
                direction=kind.direction,
                seed=seed,
                limit=limit,
                label=kind.label,
                definition=kind.definition,
            )
        )
    return found


def find_regressions(
    gold: GoldJudge | None, rows: Sequence[Row], judged: Judged, before: Sequence[Answer], after: Sequence[Answer]
) -> list[Regression]:
    """Prompts that were answered well before and are not any more, by any measure whose good direction is known."""
    kinds = [kind for kind in (gold.measures if gold else ()) if kind.direction != "same"]
    found = []
    for row, old, new, first, second in zip(rows, judged.before, judged.after, before, after, strict=True):
        for kind in kinds:
            sign = 1 if kind.direction == "higher" else -1
            if kind.name in new and sign * new[kind.name] < sign * old[kind.name]:
                reason = kind.label or kind.name
                found.append(
                    Regression(
                        prompt=row["prompt"], before=first.text, after=second.text, reason=reason, root=row["root"]
                    )
                )
                break
    return found
