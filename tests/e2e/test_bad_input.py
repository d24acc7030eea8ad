"""Bad input through the command line: one short message with its place, exit code 2, nothing lost, resumable."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Tool = Callable[..., tuple[int, str]]


@pytest.fixture
def tool(tmp_path: Path) -> Tool:
    """`tool("run", ...)` in an empty folder: exit code and the error message."""

    def call(*arguments: str) -> tuple[int, str]:
        line = [sys.executable, "-m", "tuningfork.cli", *arguments]
        found = subprocess.run(line, capture_output=True, text=True, cwd=tmp_path, timeout=120)
        assert "Traceback" not in found.stdout + found.stderr
        return found.returncode, found.stderr.strip()

    return call


@pytest.mark.parametrize(
    ("stages", "place", "cause"),
    [
        ("- steps: {stpes: 1}", "6:11", "steps.stpes: unknown key; did you mean steps?"),
        ("- steps: {steps: many}", "6:11", "steps.steps: must be a whole number, got 'many'"),
        ("- steps: {data: rows.jsonl}", "6:11", "steps.data: rows.jsonl does not exist"),
        ("- steps: {steps: 1, steps: 2}", "6:21", "duplicate key steps"),
        ("- stpes: {}", "6:3", "there is no stage 'stpes'; did you mean steps?"),
    ],
)
def test_wrong_recipe(stages: str, place: str, cause: str, write_recipe, tool: Tool, tmp_path: Path) -> None:
    code, message = tool("run", str(write_recipe(stages)))
    assert code == 2 and message.startswith(f"{tmp_path / 'small.yaml'}:{place}: {cause}")
    assert len(message.splitlines()) == 1 and not (tmp_path / "runs").exists()


def test_wrong_override(write_recipe, tool: Tool) -> None:
    code, message = tool("run", str(write_recipe("- steps: {}")), "steps.pause=slow")
    assert (code, message) == (2, "command line: steps.pause: must be a number, got 'slow'")


ROWS = "- pretrain: {model: {scratch: {layers: 1, width: 16, heads: 2, feed_forward: 16}}, data: rows.jsonl, steps: 1}"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "content", "cause"),
    [
        ("rows.jsonl", b"", ": no rows; expected one JSON object a line"),
        ("rows.jsonl", b'{"text": "a"}\n{"text": "\xe9"}\n', ":2: not UTF-8 (byte 11 of the line is 0xe9)"),
        ("rows.jsonl", b'{"text": "a"}\ntext\n', ":2: not JSON: Expecting value at column 1"),
        ("rows.jsonl", b'{"txt": "a"}\n', ": no known shape has rows with txt; map columns"),
        ("rows.jsonl.gz", gzip.compress(b'{"text": "a"}\n' * 100, mtime=0)[:-9], ": not a whole gzip file"),
    ],
    ids=["empty", "not UTF-8", "not JSON", "no text", "cut"],
)
def test_wrong_rows(name: str, content: bytes, cause: str, write_recipe, tool: Tool, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    code, message = tool("run", str(write_recipe(ROWS.replace("rows.jsonl", name))))
    assert code == 2 and message.startswith(f"{tmp_path / name}{cause}") and len(message.splitlines()) == 1


def test_full_disk_leaves_a_run_that_resumes(write_recipe, tool: Tool, tmp_path: Path) -> None:
    recipe = str(write_recipe("- steps: {id: first}\n- steps: {id: second, data: first, fail: disk, steps: 4}"))
    code, message = tool("run", recipe)
    assert code == 2 and message.startswith("no space left on the disk of runs/small; free some")
    first = tmp_path / "runs" / "small" / "1-first" / "COMPLETE.json"
    made = first.stat().st_mtime_ns
    assert tool("run", recipe) == (0, "")
    assert first.stat().st_mtime_ns == made, "what was complete is kept"
    rows = (tmp_path / "runs" / "small" / "2-second" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(row)["step"] for row in rows] == [1, 2, 3, 4]


def test_folder_of_another_recipe(write_recipe, tool: Tool, tmp_path: Path) -> None:
    assert tool("run", str(write_recipe("- steps: {}", name="reviews")), "--out", "x")[0] == 0
    before = sorted(path.name for path in (tmp_path / "x").rglob("*"))
    code, message = tool("run", str(write_recipe("- steps: {}")), "--out", "x")
    assert (code, message) == (2, "x holds a run of 'reviews', not of 'small'; choose another --out")
    assert sorted(path.name for path in (tmp_path / "x").rglob("*")) == before


def test_folder_that_is_no_run(write_recipe, tool: Tool, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "main.tex").write_text("years")
    code, message = tool("run", str(write_recipe("- steps: {}")), "--out", "thesis")
    assert code == 2 and message == "thesis is not a run folder (it holds main.tex); choose another --out"
    assert [path.name for path in (tmp_path / "thesis").iterdir()] == ["main.tex"]


def test_code_that_nobody_trusted(write_recipe, tool: Tool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNINGFORK_CONFIG", str(tmp_path / "config"))
    (tmp_path / "reward.py").write_text("def score(rows): return 1\n")
    recipe = str(write_recipe("- steps: {reward: 'reward.py:score'}"))
    code, message = tool("run", recipe)
    assert code == 2 and "runs code that is not trusted yet (steps.reward)" in message
    assert tool("run", recipe, "--trust")[0] == 0
    assert tool("run", recipe)[0] == 0
