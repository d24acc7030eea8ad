"""What a run left on disk, read for the report. Missing files are missing parts, unreadable ones notes on the page."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

from tuningfork import search
from tuningfork.errors import RunError
from tuningfork.evals.race import FILE as RACE
from tuningfork.evals.race import Race, read_race
from tuningfork.evals.summary import Summary, read_summary

Row = dict[str, Any]
_STAGE = re.compile(r"(\d+)-([\w.-]+)")
_SEED = re.compile(r"seed-(\d+)")


@dataclass
class StageRun:
    """One stage under one training seed."""

    seed: int | None
    manifest: Row
    metrics: list[Row]
    samples: list[Row]
    shown: list[Row]
    card: str
    audit: Row = field(default_factory=dict)
    """what was found in the data before training; empty where the stage made no audit"""
    reward_card: Row = field(default_factory=dict)
    """what held-out feedback says of a reward model; empty for other stages"""

    @property
    def gates(self) -> list[Row]:
        """The acceptance checks, as far as they are objects."""
        return [gate for gate in self.manifest.get("gates") or [] if isinstance(gate, dict)]

    def number(self, name: str) -> float | None:
        """A finite number of the manifest, None where there is none."""
        value = self.manifest.get(name)
        return float(value) if is_number(value) else None

    def curve(self, name: str) -> list[tuple[float, float]]:
        """(step, value) of a metric, where both are finite numbers."""
        rows = ((row.get("step"), row.get(name)) for row in self.metrics)
        return [(float(x), float(y)) for x, y in rows if is_number(x) and is_number(y)]


@dataclass
class Stage:
    """One stage of the recipe, with a run for each training seed."""

    number: int
    id: str
    runs: list[StageRun]

    @property
    def kind(self) -> str:
        """What kind of stage it is, e.g. `sft`; its id where no manifest says so."""
        return next((str(run.manifest["kind"]) for run in self.runs if run.manifest.get("kind")), self.id)

    @property
    def metric_names(self) -> list[str]:
        """Names of all numeric metrics but the step, in order of first appearance."""
        names: dict[str, None] = {}
        for run in self.runs:
            for row in run.metrics:
                names.update(dict.fromkeys(name for name, value in row.items() if is_number(value) and name != "step"))
        return list(names)


@dataclass
class RunFolder:
    """A run as the report sees it."""

    path: Path
    recipe: str | None
    summary: Summary | None
    stages: list[Stage]
    notes: list[str] = field(default_factory=list)
    race: Race | None = None
    """of the whole run, or of its last stage that raced; None where none did"""
    searched: search.Found | None = None

    @property
    def evaluation(self) -> Stage | None:
        """The last stage that compared before and after."""
        return next((stage for stage in reversed(self.stages) if stage.kind == "evaluate"), None)


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value is a finite number and not a truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def read_run(path: Path) -> RunFolder:
    """Read a run folder; RunError where it is none."""
    if not path.is_dir():
        raise RunError(f"{path}: no such run folder; `tuningfork run <recipe>` makes one")
    notes: list[str] = []
    parts = sorted((int(match[1]), folder) for folder, match in _folders(path, _SEED))
    stages: dict[str, Stage] = {}
    for seed, root in parts or [(None, path)]:
        for folder, match in sorted(_folders(root, _STAGE), key=lambda pair: int(pair[1][1])):
            run = _read_stage(folder, seed, notes)
            name = str(run.manifest.get("id") or match[2])
            stages.setdefault(name, Stage(int(match[1]), name, [])).runs.append(run)
    recipe = path / "recipe.yaml"
    if not stages and not recipe.is_file() and not (path / "summary.json").is_file():
        raise RunError(
            f"{path}: not a run folder (no recipe.yaml, no summary.json, no stage in it); name the folder of one run"
        )
    return RunFolder(
        path=path,
        recipe=recipe.read_text(encoding="utf-8", errors="replace") if recipe.is_file() else None,
        summary=_find_summary(path, len(parts), notes),
        stages=sorted(stages.values(), key=lambda stage: stage.number),
        notes=notes,
        race=_find_race(path, notes),
        searched=search.read(path),
    )


def _find_race(path: Path, notes: list[str]) -> Race | None:
    for file in [path / RACE, *sorted(path.glob(f"[0-9]*-*/{RACE}"), reverse=True)]:
        if file.is_file():
            try:
                return read_race(file)
            except RunError as error:
                notes.append(str(error))
    return None


def _folders(path: Path, pattern: re.Pattern[str]) -> list[tuple[Path, re.Match[str]]]:
    found = ((folder, pattern.fullmatch(folder.name)) for folder in path.iterdir() if folder.is_dir())
    return [(folder, match) for folder, match in found if match]


def _find_summary(path: Path, num_seeds: int, notes: list[str]) -> Summary | None:
    """The run's summary; while it is missing, that of the last evaluation of the only seed."""
    candidates = [path / "summary.json"]
    if num_seeds <= 1:
        root = next((folder for folder, _ in _folders(path, _SEED)), path)
        stages = sorted(_folders(root, _STAGE), key=lambda pair: -int(pair[1][1]))
        candidates += [folder / "summary.json" for folder, _ in stages]
    for candidate in candidates:
        if candidate.is_file():
            try:
                return read_summary(candidate)
            except RunError as error:
                notes.append(str(error))
    return None


def _read_stage(folder: Path, seed: int | None, notes: list[str]) -> StageRun:
    manifest: Row = {}
    if (folder / "manifest.json").is_file():
        try:
            manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        except ValueError as error:
            notes.append(f"{folder.name}/manifest.json cannot be read: {error}")
    if not isinstance(manifest, Mapping):
        notes.append(f"{folder.name}/manifest.json is not an object")
        manifest = {}
    card = folder / "card.md"
    return StageRun(
        seed=seed,
        manifest=manifest,
        metrics=list(_read_rows(folder / "metrics.jsonl", notes)),
        samples=list(_read_rows(folder / "samples.jsonl", notes)),
        shown=list(_read_rows(folder / "shown.jsonl", notes)),
        card=card.read_text(encoding="utf-8", errors="replace") if card.is_file() else "",
        audit=_read_object(folder / "audit.json", notes),
        reward_card=_read_object(folder / "card.json", notes),
    )


def _read_object(path: Path, notes: list[str]) -> Row:
    """The object in a JSON file; empty, with a note, where it is none."""
    if not path.is_file():
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8", errors="replace"))
    except ValueError as error:
        notes.append(f"{path.parent.name}/{path.name} cannot be read: {error}")
        return {}
    if not isinstance(value, dict):
        notes.append(f"{path.parent.name}/{path.name} is not an object")
        return {}
    return value


def _read_rows(path: Path, notes: list[str]) -> Iterator[Row]:
    """The objects of a JSON Lines file; lines that are none (a process was killed while writing) are counted."""
    if not path.is_file():
        return
    lost = 0
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                row = json.loads(line)
            except ValueError:
                lost += 1
                continue
            if isinstance(row, dict):
                yield row
            else:
                lost += 1
    if lost:
        notes.append(f"{path.parent.name}/{path.name}: {lost} unreadable line{'s' * (lost > 1)} left out")
