"""The audit on the page: findings and coloured examples, everything escaped, nonsense left out."""

from __future__ import annotations

import json
from pathlib import Path

from tuningfork.report.data import data_view
from tuningfork.report.folder import StageRun, read_run
from tuningfork.report.page import render_page

AUDIT = {
    "version": 1, "shape": "prompt_completion", "rows": 1200, "skipped": 3, "supervised_share": 0.42, "supervised_unit": "tokens",
    "problems": [{"name": "duplicates", "severity": "warn", "count": 7, "of": 1200, "text": "repeat <b>", "places": ["f:9"]}],
    "examples": [
        {"place": "f:1", "pieces": [["what? <script>alert(1)</script>", "context"], ["it \u202eis", "target"]]},
        {"place": "f:2", "pieces": [["x", "nonsense"], 7, ["y" * 2000, "other", "rejected"]]}, "no example",
    ],
}  # fmt: skip


def stage_run(audit: dict[str, object]) -> StageRun:
    return StageRun(None, {}, [], [], [], "", audit)


def test_view() -> None:
    view = data_view(stage_run(AUDIT))
    assert view is not None
    assert (
        view.summary
        == "1,200 rows of the shape prompt_completion, 3 left out as faulty, 42.0% of all tokens supervised"
    )
    assert [kind for _, _, kind in view.examples[0][1]] == ["context", "target"]
    name, text, kind = view.examples[1][1][0]
    assert (name, kind) == ("rejected", "other") and text.endswith("… (2,000 characters)") and len(view.examples) == 2
    assert data_view(stage_run({})) is None
    assert data_view(stage_run({"problems": 5, "examples": {"a": 1}})) is not None


def test_page(tmp_path: Path) -> None:
    folder = tmp_path / "1-sft"
    folder.mkdir()
    (folder / "manifest.json").write_text(json.dumps({"id": "sft", "kind": "sft"}))
    (folder / "audit.json").write_text(json.dumps(AUDIT))
    page = render_page(read_run(tmp_path))
    assert "Data: 1,200 rows of the shape prompt_completion" in page and "1 finding" in page
    assert "<script>alert" not in page and "repeat &lt;b&gt;" in page and "U+202E" in page
    assert page.count('class="piece target"') == 2, "the legend and one piece"
    (folder / "audit.json").write_text("[1]")
    run = read_run(tmp_path)
    assert run.stages[0].runs[0].audit == {} and "1-sft/audit.json is not an object" in run.notes
