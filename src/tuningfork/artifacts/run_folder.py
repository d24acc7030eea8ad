"""A run's folder: the resolved recipe, one folder a stage, the summary and the report."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from tuningfork.artifacts.files import write_text
from tuningfork.artifacts.manifest import Manifest, read_manifest
from tuningfork.document import parse
from tuningfork.errors import RunError

RECIPE, SUMMARY, REPORT, LOG = "recipe.yaml", "summary.json", "report.html", "worker.log"
_WORK, _PREVIOUS = ".work", "previous"


class RunFolder:
    """Paths and housekeeping of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.recipe, self.summary, self.report, self.log = (path / name for name in (RECIPE, SUMMARY, REPORT, LOG))

    def check(self, name: str) -> None:
        """RunError where the path holds a run of another recipe, or something that is no run. Changes nothing."""
        if self.path.exists() and not self.path.is_dir():
            raise RunError(f"{self.path} is a file; choose another --out")
        if self.recipe.is_file():
            held = parse(self.recipe.read_text(encoding="utf-8"), str(self.recipe)).data.get("name")
            if held != name:
                raise RunError(f"{self.path} holds a run of {held!r}, not of {name!r}; choose another --out")
        elif self.path.exists():
            foreign = [path.name for path in self.path.iterdir() if not path.name.startswith(".") and path.name != LOG]
            if foreign:
                raise RunError(f"{self.path} is not a run folder (it holds {foreign[0]}); choose another --out")

    def prepare(self, name: str, resolved: str, stages: Sequence[str]) -> None:
        """Take the folder for a run of the resolved recipe `name`, whose stage folders are `stages`; see `check`.

        What an earlier run with other settings left (recipe, summary, report, stages that are gone) moves to
        `previous/<time>/`.
        """
        self.check(name)
        self.path.mkdir(parents=True, exist_ok=True)
        if self.recipe.is_file():
            old = parse(self.recipe.read_text(encoding="utf-8"), str(self.recipe)).data
            if old == parse(resolved, RECIPE).data:
                return
            self.retire(self.recipe, self.summary, self.report)
            self.retire(*(path for path in self.stage_folders() if path.name not in stages))
        write_text(self.recipe, resolved)

    def stage_folders(self) -> list[Path]:
        """Folders of stages, in the order of the recipe."""
        found = [path for path in self.path.glob("[0-9]*-*") if path.is_dir()]
        return sorted(found, key=lambda path: int(path.name.partition("-")[0]))

    def manifests(self) -> list[Manifest]:
        """Manifests of all stages that have one, in the order of the recipe."""
        return [manifest for folder in self.stage_folders() if (manifest := read_manifest(folder)) is not None]

    def seed_runs(self) -> list[RunFolder]:
        """The runs of single seeds inside this one, in order of seed."""
        found = sorted(self.path.glob("seed-*"), key=lambda path: int(path.name.removeprefix("seed-")))
        return [RunFolder(path) for path in found]

    def work(self, stage: str, key: str) -> Path:
        """Folder for the checkpoints of a stage."""
        return self.path / _WORK / f"{stage}-{key[:16]}"

    def clear_work(self, stage: str) -> None:
        """Drop the checkpoints of a complete stage, those of other settings too."""
        for path in (self.path / _WORK).glob(f"{stage}-" + "[0-9a-f]" * 16):
            shutil.rmtree(path)

    def retire(self, *paths: Path) -> None:
        """Move paths that exist to `previous/<time>/`."""
        existing = [path for path in paths if path.exists()]
        if not existing:
            return
        target = self.path / _PREVIOUS / time.strftime("%Y%m%d-%H%M%S")
        target.mkdir(parents=True, exist_ok=True)
        for path in existing:
            place, attempt = target / path.name, 1
            while place.exists():
                attempt += 1
                place = target / f"{path.name}.{attempt}"
            path.rename(place)


def open_run(path: str | Path) -> RunFolder:
    """An existing run: a folder, or the name of one below runs/. RunError where there is none."""
    for candidate in (Path(path), Path("runs") / path):
        if (candidate / RECIPE).is_file():
            return RunFolder(candidate)
    raise RunError(f"{path} is not a run folder: it has no {RECIPE}")
