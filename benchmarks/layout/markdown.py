"""Pieces of the pages in docs/results, as lines of Markdown."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from layout.run import Run, gates, manifests
from tuningfork.evals.statistics import wilson_interval

SHOWN_SAMPLES = 20
_LONGEST_CELL = 600


def cell(text: str) -> str:
    """Text of a model as one Markdown cell that stays text; a very long one is cut, and says so."""
    for old, new in (("\\", "\\\\"), ("|", "\\|"), ("<", "&lt;"), ("`", "\\`"), ("*", "\\*"), ("_", "\\_")):
        text = text.replace(old, new)
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST_CELL else f"{text[:_LONGEST_CELL]} ... (cut, {len(text):,} characters)"


def reading(run: Run) -> list[str]:
    """What the figures say, in words: benchmarks/pages/<name>.md, written by hand after the run was read."""
    path = Path(__file__).parents[1] / "pages" / f"{run.name.replace('-', '_')}.md"
    return ["## Reading", "", path.read_text(encoding="utf-8").strip(), ""] if path.is_file() else []


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    """A table; values are written as they are."""
    lines = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    return lines + ["| " + " | ".join(map(str, row)) + " |" for row in rows]


def interval(difference: float | None, ci95: Sequence[float] | None, digits: int = 3) -> str:
    """A difference with its 95 % interval."""
    if difference is None:
        return ""
    return f"{difference:+.{digits}f}" + (f" [{ci95[0]:+.{digits}f}, {ci95[1]:+.{digits}f}]" if ci95 else "")


def share(value: float, n: int) -> str:
    """A share of n with its 95 % interval (Wilson)."""
    low, high = wilson_interval(value * n, n)
    return f"{value:.3f} [{low:.3f}, {high:.3f}], n {n:,}"


def samples(
    rows: Sequence[Mapping[str, Any]], columns: Sequence[str], title: str = "Samples", shown: int = SHOWN_SAMPLES
) -> list[str]:
    """Rows drawn at random with a fixed seed, the same at every making of the page."""
    drawn = random.Random(0).sample(list(rows), min(shown, len(rows)))
    lines = [f"## {title}", "", f"{len(drawn)} of {len(rows)}, drawn at random and not picked.", ""]
    return lines + table(columns, [[cell(str(row[name])) for name in columns] for row in drawn])


def gate_lines(run: Run) -> list[str]:
    """The section of the gates."""
    found = [f"- {stage} {gate.name}: {gate.message}" for stage, gate in gates(run)]
    return ["## Gates", "", *found]


def cost(run: Run) -> str:
    """Seconds of computing a seed, by stage where it matters, and the highest memory."""
    seeds = [manifests(seed) for seed in run.seeds]
    seconds = [sum(one.seconds for one in stages) for stages in seeds]
    by_stage = {one.id: one.seconds for one in seeds[0]}
    longest = sorted(by_stage, key=lambda name: -by_stage[name])[:4]
    parts = ", ".join(f"{name} {by_stage[name]:,.0f}" for name in longest)
    numbers = ", ".join(map(str, run.seed_numbers))
    peak = max(one.peak_memory_mb for stages in seeds for one in stages)
    device = seeds[0][0]
    return (
        f"Seeds: {numbers}. {sum(seconds) / len(seconds):,.0f} s a seed ({parts}) on {device.device}, "
        f"{device.threads} threads of a shared machine; peak {peak:,.0f} MB."
    )
