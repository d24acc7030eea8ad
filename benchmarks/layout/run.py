"""A finished run as the pages of docs/results read it: figures, rows and files of its stages, seed by seed."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuningfork.artifacts.manifest import FILE, Manifest, ManifestGate, read_manifest


@dataclass(frozen=True)
class Run:
    """`folder` holds one run, or a folder seed-<n> for each seed; pictures go to `docs`, `command` made the run."""

    name: str
    folder: Path
    command: str
    docs: Path

    @property
    def seeds(self) -> list[Path]:
        """The run's folder, or those of its seeds, in the order of their numbers."""
        return sorted(self.folder.glob("seed-*"), key=lambda path: int(path.name.partition("-")[2])) or [self.folder]

    @property
    def seed_numbers(self) -> list[int]:
        """Training seeds; 0 where none is named, as in a recipe."""
        return [int(number[1]) if (number := re.fullmatch(r"seed-(\d+)", path.name)) else 0 for path in self.seeds]


def stage_folder(seed: Path, stage: str) -> Path:
    """The folder of a stage by its id."""
    (found,) = (path for path in seed.glob(f"*-{stage}") if re.fullmatch(rf"\d+-{re.escape(stage)}", path.name))
    return found


def manifests(seed: Path) -> list[Manifest]:
    """Manifests of all stages in their order."""
    folders = sorted(seed.glob("[0-9]*-*/"), key=lambda path: int(path.name.partition("-")[0]))
    return [manifest for path in folders if (manifest := read_manifest(path))]


def figures(seed: Path, stage: str) -> dict[str, Any]:
    """What a stage found out."""
    return content(seed, stage, FILE)["figures"]


def rows(seed: Path, stage: str, file: str) -> list[dict[str, Any]]:
    """Rows of a JSON Lines file of a stage."""
    lines = (stage_folder(seed, stage) / file).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def content(seed: Path, stage: str, file: str) -> Any:
    """A JSON file of a stage."""
    return json.loads((stage_folder(seed, stage) / file).read_text(encoding="utf-8"))


def gates(run: Run) -> list[tuple[str, ManifestGate]]:
    """Every gate with the name of its stage, and of its seed where there are several."""
    several = len(run.seeds) > 1
    return [
        (f"{manifest.id} (seed {number})" if several else manifest.id, gate)
        for number, seed in zip(run.seed_numbers, run.seeds, strict=True)
        for manifest in manifests(seed)
        for gate in manifest.gates
    ]
