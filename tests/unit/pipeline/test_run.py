"""Whole runs of small stages: order, skipping, what runs again, gates, seeds, summary. No torch."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

import tuningfork
from tuningfork.artifacts.manifest import read_manifest
from tuningfork.artifacts.store import damaged_files, read_marker
from tuningfork.display import Display
from tuningfork.errors import DataError, GateFailed, RecipeError, RunError
from tuningfork.evals.summary import read_summary
from tuningfork.recipe import load_recipe
from tuningfork.supervisor import WorkerCrashed, run_recipe

TWO = "- steps: {id: first}\n- steps: {id: second, data: first/result.txt}"
Run = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """`run(recipe_file, "key=value", out="a")`: run it; returns what was shown."""

    def start(recipe: Path, *overrides: str, out: str = "run", trust: bool = False) -> str:
        shown = io.StringIO()
        display = Display(Console(file=shown, width=200), plain_every=0)
        run_recipe(load_recipe(recipe, overrides), tmp_path / out, trust=trust, display=display)
        return shown.getvalue()

    return start


def test_stages_run_in_order_and_leave_complete_artifacts(tmp_path: Path, write_recipe, run: Run) -> None:
    shown = run(write_recipe(TWO))
    assert shown.index("[1/2] first") < shown.index("[2/2] second")
    for folder in ("1-first", "2-second"):
        assert damaged_files(tmp_path / "run" / folder) == []
        manifest = read_manifest(tmp_path / "run" / folder)
        assert manifest is not None and manifest.status == "complete" and manifest.figures == {"steps": 3}
        assert manifest.peak_memory_mb > 1 and manifest.device == "cpu" and manifest.versions["torch"]
        rows = [json.loads(line) for line in (tmp_path / "run" / folder / "metrics.jsonl").read_text().splitlines()]
        assert [row["step"] for row in rows] == [1, 2, 3]
    assert not list((tmp_path / "run" / ".work").iterdir())


def test_plain_display_has_rate_and_figures(write_recipe, run: Run) -> None:
    shown = run(write_recipe("- steps: {steps: 4, pause: 0.25}"))
    assert "steps/s" in shown and " left" in shown and "loss 0." in shown


def test_second_run_does_nothing(tmp_path: Path, write_recipe, run: Run) -> None:
    recipe = write_recipe(TWO)
    run(recipe)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*") if path.name != ".lock"}
    shown = run(recipe)
    assert "first: unchanged" in shown and "second: unchanged" in shown and "[1/2]" not in shown
    changed = {path for path, time in before.items() if path.stat().st_mtime_ns != time}
    assert {path.name for path in changed} <= {"run"}


def test_another_run_takes_from_the_store_as_hard_links(tmp_path: Path, write_recipe, run: Run) -> None:
    run(write_recipe(TWO))
    shown = run(write_recipe(TWO, name="other"), out="b")
    assert shown.count("taken from the store") == 2
    first, second = (tmp_path / out / "1-first" / "result.txt" for out in ("run", "b"))
    assert first.stat().st_ino == second.stat().st_ino


def test_changed_setting_runs_that_stage_and_what_reads_it(tmp_path: Path, write_recipe, run: Run) -> None:
    recipe = write_recipe(TWO + "\n- steps: {id: third}")
    run(recipe)
    shown = run(recipe, "first.steps=4")
    assert "[1/3] first" in shown and "[2/3] second" in shown and "third: unchanged" in shown
    kept = {path.name for path in (tmp_path / "run" / "previous").glob("*/*")}
    assert kept == {"recipe.yaml", "1-first", "2-second"}
    assert "4" in (tmp_path / "run" / "recipe.yaml").read_text().split("steps: ")[1]


def test_same_content_under_new_settings_does_not_run_what_follows(write_recipe, run: Run) -> None:
    recipe = write_recipe(TWO)
    run(recipe)
    shown = run(recipe, "first.pause=0.001")
    assert "[1/2] first" in shown and "second: unchanged" in shown


def test_file_from_outside_that_changes_runs_its_stage_again(tmp_path: Path, write_recipe, run: Run) -> None:
    (tmp_path / "rows.txt").write_text("one")
    recipe = write_recipe("- steps: {data: rows.txt}")
    run(recipe)
    assert "unchanged" in run(recipe)
    (tmp_path / "rows.txt").write_text("two")
    assert "[1/1] steps" in run(recipe)


def test_changed_stage_code_runs_again_and_a_comment_does_not(
    tmp_path: Path, write_recipe, run: Run, fake_stages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "stages"
    own.mkdir()
    source = (fake_stages / "steps.py").read_text()
    (own / "mine.py").write_text(source)
    recipe = write_recipe("- mine: {}")
    monkeypatch.setenv("TUNINGFORK_STAGES", str(own))
    run(recipe)
    (own / "mine.py").write_text("# a comment\n" + source.replace('"""Hash step after step', '"""Hash every step'))
    assert "unchanged" in run(recipe)
    (own / "mine.py").write_text(source.replace("{state['digest']}{step}", "{state['digest']}-{step}"))
    assert "[1/1] mine" in run(recipe)


def test_failed_gate_stops_the_run_and_keeps_what_was_made(tmp_path: Path, write_recipe, run: Run) -> None:
    recipe = write_recipe("- steps: {id: first, passes: false}\n- steps: {id: second, data: first}")
    with pytest.raises(GateFailed, match=r"first did not pass its check. counted: counted to 3"):
        run(recipe)
    folder = tmp_path / "run"
    manifest = read_manifest(folder / "1-first")
    assert manifest is not None and manifest.status == "gate failed"
    assert manifest.failed_gates[0].figures == {"steps": 3}
    assert (folder / "1-first" / "result.txt").is_file() and read_marker(folder / "1-first") is None
    assert not (folder / "2-second").exists()
    assert read_summary(folder / "summary.json").verdict == "broken"
    assert (folder / "report.html").is_file()
    with pytest.raises(GateFailed):
        run(recipe)  # nothing was kept as complete: it is tried again
    assert "second: done" in run(recipe, "first.passes=true")
    assert not (folder / "summary.json").exists(), "the verdict of the failed run has been moved away"


def test_summary_has_gates_seconds_and_a_verdict(tmp_path: Path, write_recipe, run: Run) -> None:
    run(write_recipe("- steps: {}\n- measure: {}"))
    summary = read_summary(tmp_path / "run" / "summary.json")
    assert summary.verdict == "better" and summary.recipe == "small" and summary.seeds == [0]
    assert [gate.name for gate in summary.gates] == ["counted"]
    assert summary.seconds is not None and summary.peak_memory_mb is not None and summary.peak_memory_mb > 1
    assert "share" in (tmp_path / "run" / "report.html").read_text()


def test_seeds_make_one_run_each_and_one_summary(tmp_path: Path, write_recipe, run: Run) -> None:
    run(write_recipe("- steps: {}\n- measure: {}", head="seeds: [3, 5]"))
    results = {(tmp_path / "run" / f"seed-{seed}" / "1-steps" / "result.txt").read_text() for seed in (3, 5)}
    assert len(results) == 2
    summary = read_summary(tmp_path / "run" / "summary.json")
    assert summary.seeds == [3, 5] and [value.seed for value in summary.measures[0].per_seed] == [3, 5]
    assert summary.verdict == "better"


def test_python_interface_returns_the_summary(tmp_path: Path, write_recipe) -> None:
    recipe = tuningfork.load_recipe(write_recipe("- steps: {}\n- measure: {}"), ["measure.difference=-0.5"])
    summary = tuningfork.run(recipe, out=tmp_path / "run")
    assert summary is not None and summary.verdict == "worse"


def test_worker_killed_once_is_restarted_from_its_checkpoint(tmp_path: Path, write_recipe, run: Run) -> None:
    shown = run(write_recipe('- steps: {fail: "kill once", steps: 4}'))
    assert "the worker was killed" in shown and "resumed after step 2" in shown
    run(write_recipe("- steps: {steps: 4}", name="whole"), out="whole")
    cut, whole = tmp_path / "run" / "1-steps", tmp_path / "whole" / "1-steps"
    for name in ("result.txt", "metrics.jsonl", "samples.jsonl"):
        assert (cut / name).read_text() == (whole / name).read_text()


def test_worker_killed_twice_is_the_end(write_recipe, run: Run) -> None:
    with pytest.raises(RunError, match="too little memory"):
        run(write_recipe("- steps: {fail: kill, steps: 5}"))


def test_fault_of_ours_says_where_the_traceback_is(tmp_path: Path, write_recipe, run: Run) -> None:
    with pytest.raises(WorkerCrashed, match=r"ZeroDivisionError: a fault of ours\n.*worker\.log") as caught:
        run(write_recipe("- steps: {fail: fault}"))
    assert caught.value.exit_code == 1
    assert "ZeroDivisionError" in (tmp_path / "run" / "worker.log").read_text()


def test_mistake_of_the_user_found_by_a_stage_keeps_its_message(write_recipe, run: Run) -> None:
    with pytest.raises(DataError, match=r"^rows.jsonl:7: not JSON in steps$"):
        run(write_recipe("- steps: {fail: user}"))


def test_full_disk_is_a_short_message_and_the_run_resumes(tmp_path: Path, write_recipe, run: Run) -> None:
    recipe = write_recipe("- steps: {fail: disk, steps: 4}")
    with pytest.raises(RunError, match="no space left on the disk"):
        run(recipe)
    state = json.loads(next((tmp_path / "run" / ".work").glob("*/state.json")).read_text())
    assert state["step"] == 2
    assert "resumed after step 2" in run(recipe)


def test_missing_file_of_an_artifact_names_what_there_is(write_recipe, run: Run) -> None:
    with pytest.raises(DataError, match=r"second.data: first has no reslt.txt; it has .*result.txt"):
        run(write_recipe("- steps: {id: first}\n- steps: {id: second, data: first/reslt.txt}"))


MEASURED = "- steps: {id: world}\n- steps: {id: trained}\n- measure: {before: trained, prompts: world/result.txt}"


def test_second_read_of_test_prompts_with_other_settings_is_refused(tmp_path: Path, write_recipe, run: Run) -> None:
    recipe = write_recipe(MEASURED)
    run(recipe)
    with pytest.raises(RecipeError, match=r"measure.prompts: these test prompts were read .*run\).* second_read=true"):
        run(recipe, "trained.steps=5", out="other")
    assert not (tmp_path / "other" / "2-trained").exists()  # said before the training was spent
    run(recipe, "trained.steps=5", "second_read=true", out="other")
    assert read_summary(tmp_path / "other" / "summary.json").test_reads == 2
    assert read_summary(tmp_path / "run" / "summary.json").test_reads == 1
    assert "measure: unchanged" in run(recipe)  # what has read them may do so again


def test_seeds_and_repetitions_are_no_second_read(tmp_path: Path, write_recipe, run: Run) -> None:
    recipe = write_recipe(MEASURED)
    for overrides in ((), (), ("seed=1",)):
        run(recipe, *overrides, out=f"run-{len(overrides)}")
    run(recipe, "world.steps=4", "trained.steps=5")  # other settings, and other prompts too
    assert read_summary(tmp_path / "run" / "summary.json").test_reads == 1
