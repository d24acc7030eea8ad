"""The command line: starts fast and without torch, ends with the right code, and never shows a traceback."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tuningfork import doctor
from tuningfork.cli import app
from tuningfork.errors import GateFailed, RunError, TuningforkError
from tuningfork.kinds import stage_kinds
from tuningfork.recipe import load_recipe
from tuningfork.single import one_stage_recipe
from tuningfork.supervisor import run_recipe

Tool = Callable[..., str]


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tool:
    """`tool("list")`: run a command in an empty folder; returns its output. TuningforkError passes through."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> str:
        result = CliRunner().invoke(app, arguments, catch_exceptions=False)
        return result.output

    return call


def command(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "tuningfork.cli", *arguments]
    return subprocess.run(line, capture_output=True, text=True, cwd=cwd, timeout=60)


def test_help_starts_fast_without_torch_pydantic_and_numpy() -> None:
    program = "import sys, tuningfork.cli; print({'torch', 'transformers', 'numpy', 'pydantic'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert "run " in command("--help").stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert seconds < 0.3, f"{seconds:.2f} s of processor time"


def test_nothing_but_the_worker_imports_torch(tmp_path: Path, write_recipe) -> None:
    program = (
        "import sys\nfrom tuningfork.cli import app\ntry:\n    app(sys.argv[1:])\n"
        "except SystemExit:\n    pass\nprint('torch' in sys.modules)"
    )
    recipe = write_recipe("- steps: {}\n- measure: {}")
    run_recipe(load_recipe(recipe), tmp_path / "run")
    for arguments in (["run", str(recipe), "--out", "run"], ["show", "run"], ["list"], ["schema"], ["report", "run"]):
        line = [sys.executable, "-c", program, *arguments]
        found = subprocess.run(line, capture_output=True, text=True, cwd=tmp_path, timeout=60)
        assert found.stdout.splitlines()[-1] == "False", (arguments, found)


def test_every_stage_kind_is_a_command(tool: Tool) -> None:
    text = tool("--help")
    assert all(f"\n  {kind} " in text for kind in stage_kinds() if kind not in ("report", "chat"))


@pytest.mark.parametrize(
    "arguments", [["bogus"], ["run"], ["show", "nowhere"], ["run", "nowhere"], ["explain", "nowhere"]]
)
def test_mistakes_end_with_code_2_and_one_message(arguments: list[str], tmp_path: Path) -> None:
    found = command(*arguments, cwd=tmp_path)
    assert found.returncode == 2 and found.stderr and "Traceback" not in found.stderr + found.stdout


def test_exit_codes_are_those_of_the_errors(tmp_path: Path, write_recipe) -> None:
    recipe = write_recipe("- steps: {}")
    run = ["run", str(recipe), "--out", "run"]
    assert command(*run, "steps.passes=false", cwd=tmp_path).returncode == GateFailed.exit_code == 3
    assert command(*run, "steps.fail=disk", cwd=tmp_path).returncode == RunError.exit_code == 2
    fault = command(*run, "steps.fail=fault", cwd=tmp_path)
    assert fault.returncode == 1 and "Traceback" not in fault.stderr and "worker.log" in fault.stderr
    good = command(*run, cwd=tmp_path)
    assert good.returncode == 0 and good.stdout.splitlines()[-1] == "complete: run"


def test_run_ends_with_verdict_and_report(tmp_path: Path, write_recipe, tool: Tool) -> None:
    text = tool("run", str(write_recipe("- steps: {}\n- measure: {}")), "--store", "elsewhere")
    assert text.splitlines()[-1] == "report: runs/small/report.html"
    assert json.loads(Path("runs/small/summary.json").read_text())["verdict_text"] in text
    assert len(list(Path("elsewhere").glob("*-*"))) == 2 and not Path("runs/.store").exists()


def test_list_show_diff_and_explain_of_runs(write_recipe, tool: Tool) -> None:
    recipe = str(write_recipe("- steps: {}\n- measure: {}"))
    for out, difference in (("runs/a", 0.5), ("runs/b", 0.4)):
        tool("run", recipe, f"measure.difference={difference}", "--out", out)
    listed = tool("list")
    assert "snazzy: " in listed and "  a: better" in listed and "  b: better" in listed
    shown = tool("show", "a")
    assert "share: 0.1 -> 0.6 +0.500 [+0.400, +0.600], n 100" in shown and "gate counted: passed" in shown
    assert "report: runs/a/report.html" in shown
    different = tool("diff", "a", "b").splitlines()
    assert "measure.difference: 0.5 | 0.4" in different and "share after: 0.6 | 0.5" in different
    assert not any(line.startswith(("steps.", "steps version")) for line in different)
    assert tool("diff", "a", "a") == "no difference\n"
    assert "value: 0.4  (command line)" in tool("explain", "measure.difference", "--run", "b")


def test_rerun_in_another_folder_takes_all_from_the_store(write_recipe, tool: Tool) -> None:
    tool("run", str(write_recipe("- steps: {}")), "steps.steps=4")
    assert "unchanged, taken from the store" in tool("rerun", "small", "--out", "runs/again")
    assert "unchanged, kept" in tool("rerun", "small")
    assert "# command line" in Path("runs/small/recipe.yaml").read_text(), "rerun keeps where values came from"
    assert tool("diff", "small", "again") == "no difference\n"


def test_one_stage_command(tmp_path: Path, fake_stages: Path) -> None:
    (tmp_path / "rows.txt").write_text("x")
    recipe = one_stage_recipe(
        "steps", model="org/name", data=str(tmp_path / "rows.txt"), overrides=["steps=4", "seed=2"]
    )
    stage = recipe.stages[0]
    assert recipe.name == "steps" and stage.seed == 2 and stage.settings.model_dump()["steps"] == 4
    assert str(stage.inputs["model"]) == "org/name" and str(stage.inputs["data"]) == str(tmp_path / "rows.txt")
    with pytest.raises(TuningforkError, match="measure has no setting model; see `tuningfork explain measure`"):
        one_stage_recipe("measure", model="org/name", data=None, overrides=[])


def test_one_stage_without_its_model_is_not_taken_for_a_hub_id(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    with pytest.raises(TuningforkError, match=r"sft.model: pretrain/model does not exist"):
        one_stage_recipe("sft", model=None, data=str(tmp_path / "rows.jsonl"), overrides=[])


def test_schema_is_json(tool: Tool) -> None:
    assert json.loads(tool("schema"))["title"] == "Tuningfork recipe"


def test_doctor_tells_costs_and_faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    monkeypatch.setattr(
        doctor, "requires", lambda name: ["torch>=2.11,<2.12", "nosuchpackage>=1", "pytest; extra == 'dev'"]
    )
    monkeypatch.setattr(
        doctor, "version", lambda name: {"torch": "2.13.0+cpu"}[name] if name == "torch" else missing(name)
    )
    findings = {finding.subject: finding for finding in doctor.examine(tmp_path / "runs")}
    assert findings["torch"].level == "cost" and "NOT tested; tested is >=2.11,<2.12" in findings["torch"].text
    assert findings["nosuchpackage"].level == "FAULT" and "pytest" not in findings
    assert findings["OMP_WAIT_POLICY"].level == "cost" and "spin" in findings["OMP_WAIT_POLICY"].text
    assert findings["device"].text.startswith("cpu") or "cuda" in findings["device"].text
    assert {"python", "disk", "cores", "store", "precision", "bitsandbytes"} <= findings.keys()


def missing(name: str) -> str:
    raise doctor.PackageNotFoundError(name)


@pytest.mark.parametrize(
    ("found", "tested", "holds"),
    [
        ("2.13.0+cpu", ">=2.11,<2.14", True), ("2.14.0", ">=2.11,<2.14", False), ("2.10.9", ">=2.11,<2.14", False),
        ("2.9", "<=2.9", True), ("0.29.2", ">=0.26,<1", True), ("1.2", "==1.2", True), ("1.2.1", "==1.2", False),
    ],
)  # fmt: skip
def test_version_ranges(found: str, tested: str, holds: bool) -> None:
    assert doctor.in_range(found, tested) is holds
