"""Artifacts by key, shared between runs.

An artifact is the folder `<kind>-<first 16 digits of its key>`. It is complete when COMPLETE.json, written last, names
every file's hash. The first complete one of a key stays.
"""

from __future__ import annotations

import json
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuningfork.artifacts.files import hash_file, hash_json, link_or_copy, relative_files, sync, write_json

MARKER = "COMPLETE.json"
STORE_VARIABLE = "TUNINGFORK_STORE"
_VERSION = 1
_ABANDONED = 86_400.0
_NOT_CONTENT = {"manifest.json", "metrics.jsonl", "samples.jsonl", "card.md"}


@dataclass(frozen=True)
class StoredFile:
    """Hash and size of one file of an artifact."""

    sha256: str
    size: int


def store_folder(run_folder: Path, given: Path | None = None) -> Path:
    """The store of a run: the one given, that of TUNINGFORK_STORE, or `.store` beside the run's folder."""
    chosen = given or os.environ.get(STORE_VARIABLE) or run_folder.resolve().parent / ".store"
    return Path(chosen).expanduser().resolve()


def read_marker(folder: Path) -> dict[str, StoredFile] | None:
    """The files of a complete artifact by name; None where the marker is missing or names what is not there."""
    try:
        marker = json.loads((folder / MARKER).read_text(encoding="utf-8"))
        files = {name: StoredFile(entry["sha256"], entry["size"]) for name, entry in marker["files"].items()}
        sizes_hold = all((folder / name).stat().st_size == file.size for name, file in files.items())
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return files if sizes_hold and marker.get("version") == _VERSION else None


def write_marker(folder: Path) -> None:
    """Mark the artifact in `folder` as complete. Every file is hashed and made durable first."""
    files = {}
    for name in relative_files(folder):
        if name != MARKER:
            sync(folder / name)
            files[name] = {"sha256": hash_file(folder / name), "size": (folder / name).stat().st_size}
    write_json(folder / MARKER, {"version": _VERSION, "files": files})


def damaged_files(folder: Path) -> list[str]:
    """Names of files whose content is not what the marker says."""
    files = read_marker(folder)
    if files is None:
        return [MARKER]
    return [name for name, file in files.items() if hash_file(folder / name) != file.sha256]


def content_key(folder: Path, manifest: dict[str, Any], part: str = "") -> str:
    """A key of what an artifact says to a later stage: its files (those below `part`), figures and gates, no timings.

    So a stage that gives the same data again under new code does not make later stages run.
    """
    files = read_marker(folder) or {}
    content = {
        name: file.sha256
        for name, file in files.items()
        if name not in _NOT_CONTENT and (not part or name == part or name.startswith(part.rstrip("/") + "/"))
    }
    return hash_json([content, manifest.get("figures"), manifest.get("gates")] if not part else content)


class Store:
    """Put-if-absent and get of artifacts in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, kind: str, key: str) -> Path:
        """Where an artifact is, or would be."""
        return self.folder / f"{kind}-{key[:16]}"

    def has(self, kind: str, key: str) -> bool:
        """Whether a complete artifact of this key is here."""
        return read_marker(self.path(kind, key)) is not None

    def list(self) -> Iterator[Path]:
        """Folders of all complete artifacts."""
        for path in sorted(self.folder.glob("*-*")):
            if not path.name.startswith(".") and read_marker(path) is not None:
                yield path

    def put(self, kind: str, key: str, artifact: Path) -> None:
        """Keep a complete artifact (its files are hard-linked); does nothing where the key is here already."""
        if not self.has(kind, key):
            remove_temporary(self.folder, older_than=_ABANDONED)
            _copy_artifact(artifact, self.path(kind, key))

    def get(self, kind: str, key: str, target: Path) -> None:
        """Link a complete artifact into `target`, which must not exist."""
        _copy_artifact(self.path(kind, key), target)

    def remove(self, kind: str, key: str) -> None:
        """Forget an artifact."""
        path = self.path(kind, key)
        (path / MARKER).unlink(missing_ok=True)
        shutil.rmtree(path, ignore_errors=True)


def remove_temporary(folder: Path, older_than: float = 0.0) -> None:
    """Remove copies that were never finished, of processes that were killed; `older_than` in seconds."""
    for path in folder.glob(".*.tmp"):
        if path.is_dir() and time.time() - path.stat().st_mtime >= older_than:
            shutil.rmtree(path, ignore_errors=True)


def _copy_artifact(source: Path, target: Path) -> None:
    """Link every file of a complete artifact into a new folder, its marker last, under a temporary name until done."""
    files = read_marker(source)
    assert files is not None, f"{source} is not complete"
    temporary = target.parent / f".{target.name}.{uuid.uuid4().hex[:8]}.tmp"
    temporary.mkdir(parents=True)
    try:
        for name in (*files, MARKER):
            link_or_copy(source / name, temporary / name)
        sync(temporary)
        if target.exists() and read_marker(target) is None:
            shutil.rmtree(target)
        try:
            os.rename(temporary, target)
        except OSError:
            if read_marker(target) is None:
                raise  # otherwise another run put the same artifact first
        sync(target.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
