"""Looking at runs that exist: list, show, and what differs between two."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tuningfork.artifacts.manifest import Manifest
from tuningfork.artifacts.run_folder import RunFolder
from tuningfork.artifacts.store import read_marker
from tuningfork.display import duration
from tuningfork.document import parse, walk
from tuningfork.evals.summary import Summary, read_summary

_MISSING = "-"


def runs_below(folder: Path) -> list[RunFolder]:
    """Runs in the folders of `folder`, by name."""
    return [RunFolder(path.parent) for path in sorted(folder.glob("*/recipe.yaml"))]


def state(run: RunFolder) -> str:
    """`better`, `3 of 7 stages`, `gate failed: reward`: a run in a few words."""
    if run.summary.is_file() and (verdict := read_summary(run.summary).verdict):
        return verdict.replace("_", " ")
    manifests = run.manifests()
    failed = [manifest.id for manifest in manifests if manifest.status == "gate failed"]
    if failed:
        return f"gate failed: {failed[0]}"
    complete = sum(read_marker(folder) is not None for folder in run.stage_folders())
    return f"{complete} of {len(recipe_data(run)['stages'])} stages"


def describe(run: RunFolder) -> str:
    """A run as text: verdict, measures, stages with their figures, where the report is."""
    lines = [f"{recipe_data(run)['name']}: {state(run)}  ({run.path})"]
    if run.summary.is_file():
        lines += _summary_lines(read_summary(run.summary))
    for seed_run in run.seed_runs() or [run]:
        if seed_run is not run:
            lines += ["", f"{seed_run.path.name}: {state(seed_run)}"]
        for manifest in seed_run.manifests():
            lines += ["", *_stage_lines(manifest)]
    if run.report.is_file():
        lines += ["", f"report: {run.report}"]
    return "\n".join(lines)


def _summary_lines(summary: Summary) -> list[str]:
    lines = [summary.verdict_text] if summary.verdict_text else []
    for measure in summary.measures:
        interval = f" [{measure.ci95[0]:+.3f}, {measure.ci95[1]:+.3f}]" if measure.ci95 else ""
        change = f" {measure.difference:+.3f}" if measure.difference is not None else ""
        lines.append(
            f"  {measure.name}: {_number(measure.before)} -> {_number(measure.after)}{change}{interval}, n {measure.n}"
        )
    return lines


def _stage_lines(manifest: Manifest) -> list[str]:
    lines = [f"{manifest.id}: {manifest.status}, {duration(manifest.seconds)}, {manifest.peak_memory_mb:,.0f} MB"]
    lines += [f"  {name}: {_number(value)}" for name, value in manifest.figures.items()]
    return lines + [
        f"  gate {gate.name}: {'passed' if gate.passed else 'FAILED'}, {gate.message}" for gate in manifest.gates
    ]


def differences(first: RunFolder, second: RunFolder) -> list[tuple[str, str, str]]:
    """(what, in the first, in the second) for settings, versions, figures and measures that differ."""
    before, after = dict(_facts(first)), dict(_facts(second))
    keys = [*before, *(key for key in after if key not in before)]
    rows = ((key, before.get(key, _MISSING), after.get(key, _MISSING)) for key in keys)
    return [row for row in rows if row[1] != row[2]]


def _facts(run: RunFolder) -> Iterator[tuple[str, str]]:
    """Everything about a run that can differ, as named text."""
    data = recipe_data(run)
    stages = data.pop("stages")
    yield from _leaves("", data)
    for entry in stages:
        for kind, settings in entry.items():
            yield from _leaves(f"{settings.get('id', kind)}.", settings)
    for seed_run in run.seed_runs() or [run]:
        start = "" if seed_run is run else f"{seed_run.path.name} "
        for manifest in seed_run.manifests():
            yield from _leaves(f"{start}{manifest.id} version ", manifest.versions)
            yield from _leaves(f"{start}{manifest.id} figure ", manifest.figures)
            yield from (
                (f"{start}{manifest.id} gate {gate.name}", "passed" if gate.passed else "failed")
                for gate in manifest.gates
            )
    if run.summary.is_file():
        summary = read_summary(run.summary)
        yield "verdict", str(summary.verdict)
        for measure in summary.measures:
            yield f"{measure.name} after", _number(measure.after)
            yield f"{measure.name} difference", _number(measure.difference)


def _leaves(start: str, data: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for location, value in walk(data):
        if location and not (isinstance(value, dict | list) and value):
            yield start + ".".join(map(str, location)), _number(value)


def recipe_data(run: RunFolder) -> dict[str, Any]:
    """The run's resolved recipe as plain data."""
    return parse(run.recipe.read_text(encoding="utf-8"), str(run.recipe)).data


def _number(value: Any) -> str:
    return f"{value:,.4g}" if isinstance(value, float) else _MISSING if value is None else str(value)
