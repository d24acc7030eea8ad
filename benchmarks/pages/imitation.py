"""Result `imitation`: what a student learns of its teacher, style and facts apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from layout.markdown import cost, gate_lines, interval, reading, samples, table
from layout.run import Run, content, rows

RECIPE = "imitation"
OVERRIDES: list[str] = ["seeds=[1,2,3]"]
MEANING = {
    "length": "words of difference to the teacher's answer, lower is nearer",
    "format": "share of features of form in common with the teacher's answer",
    "preference": "share preferred to the teacher's by a judge who sees the form alone",
    "facts": "sampled answers that are right",
    "probe": "probability of a right word after a fixed prefix",
}


def page(run: Run) -> str:
    """Verdict by seed, measures with intervals, gates, samples."""
    found = [content(seed, "imitation", "imitation.json") for seed in run.seeds]
    lines = [f"# {run.name}", "", f"`{run.command}`", ""]
    lines += [f"- seed {number}: **{one['verdict']}**" for number, one in zip(run.seed_numbers, found, strict=True)]
    lines += ["", *reading(run), *measures([one["findings"] for one in found])]
    lines += ["", cost(run), "", *gate_lines(run), "", *_samples(run)]
    return "\n".join(lines)


def measures(seeds: Sequence[Sequence[dict[str, Any]]]) -> list[str]:
    """One row a measure and side: means over seeds, the interval with the mean of the seeds' ends, each seed's change."""
    found = []
    for group in zip(*seeds, strict=True):
        change, gap = [one["change"] for one in group], [one["gap"] for one in group]
        found.append(
            (
                f"{group[0]['name']}, {group[0]['side']}",
                f"{_mean(change, 'before'):.3f}",
                f"{_mean(change, 'after'):.3f}",
                f"{_mean(gap, 'after'):.3f}",
                interval(_mean(change, "difference"), _ends(change)),
                interval(_mean(gap, "difference"), _ends(gap)),
                change[0]["num_roots"],
                ", ".join(f"{one['difference']:+.3f}" for one in change),
            )
        )
    columns = ("measure", "before", "after", "teacher", "change", "still missing", "roots", "change, by seed")
    legend = [f"- {name}: {text}" for name, text in MEANING.items() if any(one["name"] == name for one in seeds[0])]
    return ["## Measures", "", *table(columns, found), "", *legend]


def _mean(values: Sequence[dict[str, Any]], name: str) -> float:
    return sum(one[name] for one in values) / len(values)


def _ends(values: Sequence[dict[str, Any]]) -> list[float] | None:
    if any(one["ci95"] is None for one in values):
        return None
    return [sum(one["ci95"][end] for one in values) / len(values) for end in (0, 1)]


def _samples(run: Run) -> list[str]:
    lines: list[str] = []
    for side in ("inside", "outside"):
        chosen = [row for row in rows(run.seeds[0], "imitation", "samples.jsonl") if row["side"] == side]
        lines += [*samples(chosen, ("prompt", "before", "after", "teacher"), f"Samples, {side}", 10), ""]
    return lines[:-1]
