"""A run's folder: whose it is, what moves away, manifests and cards."""

from __future__ import annotations

from pathlib import Path

import pytest

from tuningfork.artifacts.manifest import Manifest, ManifestGate, read_manifest, render_card, write_manifest
from tuningfork.artifacts.run_folder import RunFolder, open_run
from tuningfork.errors import RunError

RECIPE = "version: 1\nname: snazzy\nseed: 0\n"


def test_other_settings_move_what_was_there_to_previous(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.prepare("snazzy", RECIPE, ["1-sft"])
    for name in ("summary.json", "report.html"):
        (folder.path / name).write_text(name)
    for name in ("1-sft", "2-rl"):
        (folder.path / name).mkdir()
    folder.prepare("snazzy", RECIPE + "# another comment\n", ["1-sft"])
    assert folder.summary.is_file(), "the same settings move nothing"
    folder.prepare("snazzy", RECIPE.replace("0", "1"), ["1-sft"])
    assert not folder.summary.exists() and (folder.path / "1-sft").is_dir() and not (folder.path / "2-rl").exists()
    previous = next((folder.path / "previous").iterdir())
    assert {path.name for path in previous.iterdir()} == {"recipe.yaml", "summary.json", "report.html", "2-rl"}
    assert (previous / "recipe.yaml").read_text() == RECIPE


def test_two_moves_in_one_second_keep_both(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    for content in ("one", "two"):
        folder.report.write_text(content)
        folder.retire(folder.report)
    assert sorted(path.read_text() for path in folder.path.glob("previous/*/*")) == ["one", "two"]


def test_folder_of_another_recipe_is_refused(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.prepare("reviews", RECIPE.replace("snazzy", "reviews"), [])
    with pytest.raises(RunError, match="holds a run of 'reviews', not of 'snazzy'; choose another --out"):
        folder.prepare("snazzy", RECIPE, [])


def test_folder_that_is_no_run_is_refused_untouched(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(RunError, match=r"is not a run folder \(it holds thesis.tex\)"):
        RunFolder(tmp_path).prepare("snazzy", RECIPE, [])
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(RunError, match="is a file"):
        RunFolder(tmp_path / "thesis.tex").prepare("snazzy", RECIPE, [])


def test_stage_folders_are_in_the_order_of_the_recipe(tmp_path: Path) -> None:
    for name in ("10-rl", "2-sft", "1-world", "previous", "notes"):
        (tmp_path / name).mkdir()
    assert [path.name for path in RunFolder(tmp_path).stage_folders()] == ["1-world", "2-sft", "10-rl"]


def test_clear_work_leaves_stages_whose_name_only_begins_alike(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    keys = ["0" * 64, "f" * 64]
    for stage in ("rl", "rl-2"):
        for key in keys:
            folder.work(stage, key).mkdir(parents=True)
    folder.clear_work("rl")
    assert not any(folder.work("rl", key).exists() for key in keys)
    assert all(folder.work("rl-2", key).exists() for key in keys)


def test_runs_are_found_by_folder_and_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    RunFolder(Path("runs/a")).prepare("snazzy", RECIPE, [])
    assert open_run("a").path == open_run("runs/a").path == Path("runs/a")
    with pytest.raises(RunError, match=r"b is not a run folder: it has no recipe.yaml"):
        open_run("b")


def test_manifest_is_read_back_and_the_card_tells_it(tmp_path: Path) -> None:
    gate = ManifestGate(name="accuracy", passed=False, message="0.8 is under 0.95", figures={"accuracy": 0.8})
    manifest = Manifest(
        id="gold", kind="reward", key="k" * 64, status="gate failed", seconds=3.25, peak_memory_mb=2048.0, seed=7,
        inputs={"data": {"reference": "pairs", "key": "p" * 64}}, figures={"accuracy": 0.8, "a|b": "x\ny"},
        gates=[gate], settings={"steps": 3}, versions={"torch": "2.13"},
    )  # fmt: skip
    write_manifest(tmp_path, manifest)
    assert read_manifest(tmp_path) == manifest and manifest.failed_gates == [gate]
    card = (tmp_path / "card.md").read_text()
    assert card == render_card(manifest)
    for part in (
        "`reward`",
        "gate failed",
        "seed 7",
        "2,048 MB",
        "| accuracy | 0.8 |",
        "| a\\|b | x y |",
        "**failed**",
    ):
        assert part in card


def test_damaged_or_newer_manifests_are_named(tmp_path: Path) -> None:
    assert read_manifest(tmp_path) is None
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(RunError, match="not a manifest"):
        read_manifest(tmp_path)
    (tmp_path / "manifest.json").write_text('{"version": 2}')
    with pytest.raises(RunError, match="manifest of version 2"):
        read_manifest(tmp_path)
