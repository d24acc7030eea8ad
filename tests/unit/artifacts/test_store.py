"""The store: complete or absent, the first stays, damage is seen."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from tuningfork.artifacts import files
from tuningfork.artifacts.manifest import Manifest, write_manifest
from tuningfork.artifacts.store import (
    MARKER,
    Store,
    content_key,
    damaged_files,
    read_marker,
    store_folder,
    write_marker,
)

KEY = "0123456789abcdef" * 4


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    """A complete artifact of two files."""
    folder = tmp_path / "1-sft"
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "weights").write_text("weights")
    (folder / "rows.jsonl").write_text("{}\n")
    write_marker(folder)
    return folder


def test_artifact_without_marker_or_with_a_missing_or_cut_file_is_not_complete(artifact: Path) -> None:
    assert set(read_marker(artifact) or {}) == {"model/weights", "rows.jsonl"}
    (artifact / "rows.jsonl").write_text("{")
    assert read_marker(artifact) is None
    (artifact / "rows.jsonl").unlink()
    assert read_marker(artifact) is None
    (artifact / "rows.jsonl").write_text("{}\n")
    assert read_marker(artifact) is not None
    (artifact / MARKER).write_text((artifact / MARKER).read_text()[:40])
    assert read_marker(artifact) is None


def test_put_and_get_link_the_same_files(tmp_path: Path, artifact: Path) -> None:
    store = Store(tmp_path / "store")
    assert not store.has("sft", KEY)
    store.put("sft", KEY, artifact)
    assert store.has("sft", KEY) and [path.name for path in store.list()] == [f"sft-{KEY[:16]}"]
    store.get("sft", KEY, tmp_path / "run" / "1-sft")
    found = tmp_path / "run" / "1-sft" / "model" / "weights"
    assert found.stat().st_ino == (artifact / "model" / "weights").stat().st_ino
    assert damaged_files(tmp_path / "run" / "1-sft") == []


def test_first_artifact_of_a_key_stays(tmp_path: Path, artifact: Path) -> None:
    store = Store(tmp_path / "store")
    store.put("sft", KEY, artifact)
    (artifact / "rows.jsonl").unlink()
    (artifact / "rows.jsonl").write_text("other")
    write_marker(artifact)
    store.put("sft", KEY, artifact)
    assert (store.path("sft", KEY) / "rows.jsonl").read_text() == "{}\n"


def test_incomplete_artifact_in_the_store_is_replaced(tmp_path: Path, artifact: Path) -> None:
    store = Store(tmp_path / "store")
    store.path("sft", KEY).mkdir(parents=True)
    (store.path("sft", KEY) / "half").write_text("x")
    assert not store.has("sft", KEY) and list(store.list()) == []
    store.put("sft", KEY, artifact)
    assert store.has("sft", KEY) and not (store.path("sft", KEY) / "half").exists()


def test_cut_copy_leaves_nothing(tmp_path: Path, artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path / "store")
    linked: list[str] = []

    def link(source: Path, target: Path) -> None:
        if linked:
            raise OSError(errno.ENOSPC, "No space left on device")
        linked.append(str(target))

    monkeypatch.setattr(os, "link", link)
    with pytest.raises(OSError, match="No space left"):
        store.put("sft", KEY, artifact)
    assert not store.has("sft", KEY) and list(store.folder.iterdir()) == []


def test_copies_where_there_are_no_hard_links(tmp_path: Path, artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(source: Path, target: Path) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", link)
    store = Store(tmp_path / "store")
    store.put("sft", KEY, artifact)
    assert damaged_files(store.path("sft", KEY)) == []


def test_damage_of_equal_size_is_found_by_hash(artifact: Path) -> None:
    (artifact / "model" / "weights").write_text("weightz")
    assert damaged_files(artifact) == ["model/weights"]
    (artifact / MARKER).unlink()
    assert damaged_files(artifact) == [MARKER]


def test_content_key_is_of_files_figures_and_gates_not_of_timings(artifact: Path) -> None:
    manifest = {"figures": {"accuracy": 0.9}, "gates": [], "seconds": 1.0}
    whole, rows = content_key(artifact, manifest), content_key(artifact, manifest, "rows.jsonl")
    (artifact / MARKER).unlink()
    write_manifest(artifact, Manifest(id="sft", kind="sft", key=KEY, seconds=99, status="complete"))
    (artifact / "metrics.jsonl").write_text("{}")
    write_marker(artifact)
    assert content_key(artifact, {**manifest, "seconds": 5.0}) == whole
    assert content_key(artifact, {**manifest, "figures": {"accuracy": 0.8}}) != whole
    assert content_key(artifact, {**manifest, "figures": {}}, "rows.jsonl") == rows
    (artifact / "model" / "weights").write_text("weightz")
    write_marker(artifact)
    assert content_key(artifact, manifest) != whole
    assert content_key(artifact, manifest, "rows.jsonl") == rows
    assert content_key(artifact, manifest, "model") not in (whole, rows)


def test_place_of_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TUNINGFORK_STORE", raising=False)
    assert store_folder(tmp_path / "runs" / "a") == tmp_path / "runs" / ".store"
    monkeypatch.setenv("TUNINGFORK_STORE", str(tmp_path / "shared"))
    assert store_folder(tmp_path / "runs" / "a") == tmp_path / "shared"
    assert store_folder(tmp_path / "runs" / "a", tmp_path / "given") == tmp_path / "given"


def test_failed_write_keeps_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "summary.json"
    files.write_text(path, "old")

    def fail(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        files.write_text(path, "new and longer")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
