"""A run's last words: `summary.json` and `report.html`, from what its stages left."""

from __future__ import annotations

from tuningfork.artifacts.run_folder import SUMMARY, RunFolder
from tuningfork.evals.combine import combine
from tuningfork.evals.race import FILE as RACE
from tuningfork.evals.race import Race, combine_races, read_race, write_race
from tuningfork.evals.summary import GateRecord, Summary, read_summary, write_summary
from tuningfork.evals.verdict import judge
from tuningfork.recipe import Recipe
from tuningfork.report import render_report


def finish_run(recipe: Recipe, folder: RunFolder) -> Summary | None:
    """Write summary and report of one run; None where no stage measured anything (no `evaluate`) and every gate passed.

    A run that a gate stopped gets a summary too: its verdict is `broken`.
    """
    manifests = folder.manifests()
    gates = [
        GateRecord(stage=m.id, name=g.name, passed=g.passed, message=g.message, figures=g.figures)
        for m in manifests
        for g in m.gates
    ]
    measured = [path for stage in folder.stage_folders() if (path := stage / SUMMARY).is_file()]
    if not measured and all(gate.passed for gate in gates):
        if _races(folder):
            render_report(folder.path)
        return None
    found = read_summary(measured[-1]) if measured else Summary()
    summary = found.model_copy(
        update={
            "recipe": recipe.name,
            "seeds": found.seeds or [recipe.header.seed],
            "gates": gates,
            "seconds": round(sum(manifest.seconds for manifest in manifests), 1),
            "peak_memory_mb": max((manifest.peak_memory_mb for manifest in manifests), default=None),
        }
    )
    return _publish(summary, folder)


def finish_seeds(recipe: Recipe, folder: RunFolder) -> Summary | None:
    """Write summary and report over the runs of all seeds; None where they measured nothing."""
    runs = [RunFolder(folder.path / f"seed-{seed}") for seed in recipe.header.seeds or ()]
    summaries = [read_summary(run.summary) for run in runs if run.summary.is_file()]
    races = [race for run in runs for race in _races(run)]
    if races:
        write_race(combine_races(races), folder.path / RACE)
        render_report(folder.path)
    return _publish(combine(summaries), folder) if summaries else None


def _races(folder: RunFolder) -> list[Race]:
    """What the last race stage of a run found, if there is one."""
    found = [path for stage in folder.stage_folders() if (path := stage / RACE).is_file()]
    return [read_race(path) for path in found[-1:]]


def _publish(summary: Summary, folder: RunFolder) -> Summary:
    judged = judge(summary)
    write_summary(judged, folder.summary)
    render_report(folder.path)
    return judged
