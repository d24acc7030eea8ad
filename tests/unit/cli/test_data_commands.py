"""`tuningfork data show|check|convert`: what they print, their exit codes, and that they start without torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tuningfork.cli import app
from tuningfork.errors import DataError

ROWS = [{"instruction": f"Say {n}.", "input": "", "output": f"It is {n}.", "n": n} for n in range(30)]


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`rows.jsonl` in an empty current folder."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def tool(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["data", *arguments])
    if isinstance(result.exception, DataError):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.output


def test_show_marks_what_is_trained_on_with_brackets(file: Path) -> None:
    text = tool("show", "rows.jsonl", "--rows", "2")
    assert text.startswith("rows.jsonl: shape prompt_completion (30 of the first 30 rows: ")
    assert "rows.jsonl:2\nprompt: Say 1.\ncompletion: ⟦It is 1.⟧\n" in text and "Say 2." not in text


def test_show_escapes_control_characters(file: Path) -> None:
    file.write_text(json.dumps({"text": "a\x1b[31mb\u202ec"}) + "\n")
    assert "⟦a\\x1b[31mb\\u202ec⟧" in tool("show", "rows.jsonl")


def test_check_gives_lines_or_json_and_a_code(file: Path) -> None:
    assert tool("check", "rows.jsonl").splitlines()[-1] == "no problem found"
    found: dict[str, Any] = json.loads(tool("check", "rows.jsonl", "--json"))
    assert (found["shape"], found["rows"], found["problems"]) == ("prompt_completion", 30, [])
    assert found["supervised_share"] == pytest.approx(
        sum(len(r["output"]) for r in ROWS) / sum(len(r["output"] + r["instruction"]) for r in ROWS)
    )
    (file.parent / "held.jsonl").write_text(json.dumps({"prompt": "Say 3.", "completion": "It is 3."}) + "\n")
    assert "evaluation_rows_in_training: 1 of 1 rows" in tool("check", "rows.jsonl", "--eval", "held.jsonl")
    file.write_text('{"text": "a", "label": 1}\n{"text": "b", "label": 1}\n')
    assert "stop  one_label: 2 of 2 rows" in tool("check", "rows.jsonl", code=1)


def test_check_of_unknown_data(file: Path) -> None:
    file.write_text('{"foo": 1}\n')
    found = json.loads(tool("check", "rows.jsonl", "--json", code=1))
    assert found["shape"] == "unknown" and found["problems"][0]["name"] == "unknown_shape"
    assert "supervised_share" in found


def test_columns_strictness_and_shares(file: Path) -> None:
    file.write_text('{"frage": "a", "antwort": "b"}\n' * 50 + "oops\n")
    columns = ["--column", "prompt=frage", "--column", "completion=antwort"]
    with pytest.raises(DataError, match=r"rows.jsonl:51: not JSON"):
        tool("check", "rows.jsonl", *columns)
    assert "1 left out as faulty" in tool("check", "rows.jsonl", *columns, "--skip-share", "0.05")
    with pytest.raises(DataError, match=r"rows.jsonl:51: not JSON"):
        tool("check", "rows.jsonl", *columns, "--skip-share", "0.05", "--strict")
    with pytest.raises(DataError, match="expected FIELD=COLUMN"):
        tool("check", "rows.jsonl", "--column", "frage")


def test_convert_writes_the_canonical_form_once(file: Path) -> None:
    assert "out.jsonl: 30 rows of the shape prompt_completion; no row of 30 left out" in tool(
        "convert", "rows.jsonl", "out.jsonl"
    )
    rows = [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
    assert rows[3] == {"prompt": "Say 3.", "completion": "It is 3.", "extra": {"n": 3}}
    with pytest.raises(DataError, match="exists already"):
        tool("convert", "rows.jsonl", "out.jsonl")
    with pytest.raises(DataError, match=r"name it .jsonl"):
        tool("convert", "rows.jsonl", "out.csv")
    file.write_text(file.read_text() + "oops\n" * 5)
    with pytest.raises(DataError, match="5 of 35 rows are faulty"):
        tool("convert", "rows.jsonl", "other.jsonl")
    assert sorted(path.name for path in Path().iterdir()) == ["out.jsonl", "rows.jsonl"], "nothing half-written is left"


def test_a_tree_becomes_rankings(file: Path) -> None:
    tree = Path(__file__).parents[1] / "data" / "variants" / "oasst-trees.jsonl"
    tool("convert", str(tree), "ranking.jsonl", "--to", "ranking")
    assert json.loads(Path("ranking.jsonl").read_text())["ranks"] == [2, 1]
    with pytest.raises(DataError, match="only a tree becomes another shape"):
        tool("convert", "rows.jsonl", "no.jsonl", "--to", "ranking")


def test_without_a_model_nothing_imports_torch(file: Path) -> None:
    program = (
        "import sys\nfrom tuningfork.cli import app\ntry:\n    app(sys.argv[1:])\n"
        "except SystemExit:\n    pass\nprint('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    for arguments in (
        ["show", "rows.jsonl"],
        ["check", "rows.jsonl", "--json"],
        ["convert", "rows.jsonl", "new.jsonl"],
    ):
        line = [sys.executable, "-c", program, "data", *arguments]
        found = subprocess.run(line, capture_output=True, text=True, timeout=60, check=True)
        assert found.stdout.splitlines()[-1] == "False", arguments


def test_with_a_model_tokens_are_shown_and_audited(file: Path, tiny_backbone: Any) -> None:
    from tuningfork.model.saving import save_backbone

    save_backbone(tiny_backbone, Path("model"))
    text = tool("show", "rows.jsonl", "--rows", "1", "--model", "model")
    assert (
        "<|bos|>Say 0.⟦It is 0.<|eos|>⟧" in text.replace("<s>", "<|bos|>").replace("</s>", "<|eos|>")
        or "⟦It is 0." in text
    )
    found = json.loads(tool("check", "rows.jsonl", "--json", "--model", "model"))
    assert found["supervised_unit"] == "tokens" and 0.3 < found["supervised_share"] < 0.8 and found["problems"] == []
    file.write_text(json.dumps({"prompt": "a " * 80, "completion": "b"}) + "\n" + json.dumps(ROWS[0]) + "\n")
    names = {
        one["name"]: one for one in json.loads(tool("check", "rows.jsonl", "--json", "--model", "model"))["problems"]
    }
    assert names["too_long"]["count"] == names["answers_lost"]["count"] == 1
