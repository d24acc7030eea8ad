"""The stages of a recipe in order, in one process: take what is complete, run the rest, stop at a failing gate."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tuningfork import __version__
from tuningfork.artifacts.events import METRICS, RunEvents, Send, set_aside
from tuningfork.artifacts.manifest import FILE as MANIFEST
from tuningfork.artifacts.manifest import Manifest, ManifestGate, read_manifest, write_manifest
from tuningfork.artifacts.reads import ReadLedger
from tuningfork.artifacts.run_folder import RunFolder
from tuningfork.artifacts.store import Store, content_key, read_marker, remove_temporary, write_marker
from tuningfork.errors import DataError, GateFailed, RecipeError
from tuningfork.keys import PathHashes, data_key, hub_key, stage_key
from tuningfork.kinds import stage_module
from tuningfork.recipe import Recipe, Stage
from tuningfork.references import DataReference, PathReference, StageReference
from tuningfork.runtime import Runtime
from tuningfork.settings import read_once_inputs
from tuningfork.sources import code_version
from tuningfork.stage import ResolvedInput, StageContext, StopFlag

_PACKAGES = ("torch", "transformers", "tokenizers", "peft")


@dataclass
class Pipeline:
    """One run of a recipe in its folder."""

    recipe: Recipe
    folder: RunFolder
    store: Store
    send: Send
    stop: StopFlag
    runtime: Runtime
    _contents: dict[str, Path] = field(default_factory=dict)

    @property
    def reads(self) -> ReadLedger:
        """Who has read which test prompts."""
        return ReadLedger(self.store.folder / "test-reads.jsonl")

    def run(self) -> None:
        """Run every stage that is not complete. GateFailed at the first failing check, Interrupted when stopped."""
        hashes = PathHashes(self.store.folder / "hashes.json")
        remove_temporary(self.folder.path)
        for stage in self.recipe.stages:
            self.stop.check()
            out = self.folder.path / stage.folder
            inputs = {name: self._input(stage, name, hashes) for name in stage.inputs}
            hashes.save()
            keys = {name: found.key for name, found in inputs.items()}
            key = stage_key(stage, keys, code_version(stage.kind), self.runtime.device, self.runtime.precision)
            if not self._take_complete(stage, key, out):
                self._run_stage(stage, key, out, self._count_reads(stage, inputs))
            self._contents[stage.id] = out
            self._refuse_second_reads(hashes)

    def _input(self, stage: Stage, name: str, hashes: PathHashes) -> ResolvedInput:
        reference = stage.inputs[name]
        if isinstance(reference, StageReference):
            folder = self._contents[reference.stage]
            path = folder / reference.file
            if not path.exists():
                has = ", ".join(sorted(file for file in read_marker(folder) or {})) or "nothing"
                raise DataError(f"{stage.id}.{name}: {reference.stage} has no {reference.file}; it has {has}")
            manifest = read_manifest(folder)
            described = manifest.model_dump(mode="json") if manifest else {}
            return ResolvedInput(str(path), content_key(folder, described, reference.file), path, described)
        if isinstance(reference, PathReference):
            return ResolvedInput(str(reference.path), hashes.key(reference.path), reference.path)
        if isinstance(reference, DataReference):
            return ResolvedInput(reference.name, data_key(reference.name))
        return ResolvedInput(reference.name, hub_key(reference.name))

    def _count_reads(self, stage: Stage, inputs: Mapping[str, ResolvedInput]) -> dict[str, ResolvedInput]:
        """The inputs, of which those that are for testing know how many settings have read them; this read included."""
        counted = dict(inputs)
        for name in read_once_inputs(stage.settings):
            reads = self.reads.record(inputs[name].key, self.recipe.choice, str(self.folder.path))
            counted[name] = replace(inputs[name], num_choices=reads)
        return counted

    def _refuse_second_reads(self, hashes: PathHashes) -> None:
        """RecipeError as soon as it is known that test prompts were read with other settings, before more is spent."""
        if self.recipe.header.second_read:
            return
        waiting = [stage for stage in self.recipe.stages if stage.id not in self._contents]
        for stage in waiting:
            for name in read_once_inputs(stage.settings):
                reference = stage.inputs[name]
                if isinstance(reference, StageReference) and reference.stage not in self._contents:
                    continue
                others = self.reads.others(self._input(stage, name, hashes).key, self.recipe.choice)
                if others:
                    raise RecipeError(
                        f"{stage.id}.{name}: these test prompts were read with other settings (by {others[-1]}); "
                        "choosing settings by their test result makes it look better than it is. Choose by the monitor's "
                        "figures, or say second_read=true: the report then counts the reads"
                    )

    def _take_complete(self, stage: Stage, key: str, out: Path) -> bool:
        """Whether the stage is complete, in this folder or in the store; afterwards it is in both."""
        manifest = read_manifest(out) if read_marker(out) else None
        if manifest is not None and manifest.key == key:
            self.store.put(stage.kind, key, out)
            self._say(stage, "unchanged, kept")
        elif self.store.has(stage.kind, key):
            self.folder.retire(out)
            self.store.get(stage.kind, key, out)
            self._say(stage, "unchanged, taken from the store")
        else:
            return False
        return True

    def _run_stage(self, stage: Stage, key: str, out: Path, inputs: Mapping[str, ResolvedInput]) -> None:
        runtime, work = self.runtime, self.folder.work(stage.id, key)
        before = self._prepare(out, work, key)
        self.send({"event": "stage", "stage": stage.id, "number": stage.number, "of": len(self.recipe.stages)})
        events = RunEvents(stage.id, out, work, self.send)
        context = StageContext(stage.id, out, work, stage.seed, runtime, inputs, events, self.stop)
        running = Manifest(
            id=stage.id, kind=stage.kind, key=key, seed=stage.seed, settings=stage.settings.model_dump(mode="json"),
            inputs={name: {"reference": str(stage.inputs[name]), "key": found.key} for name, found in inputs.items()},
            versions=versions(stage.kind), device=runtime.device, precision=runtime.precision, threads=runtime.threads,
            started=before.started if before else _now(), seconds=before.seconds if before else 0.0,
        )  # fmt: skip
        write_manifest(out, running)
        _reset_peak_memory()
        started = time.monotonic()
        try:
            stage_module(stage.kind).run(context, stage.settings)
        finally:
            events.close()
            running = running.model_copy(update={"seconds": running.seconds + time.monotonic() - started})
            write_manifest(out, running)
        self._finish(stage, context, running)

    def _prepare(self, out: Path, work: Path, key: str) -> Manifest | None:
        """An empty folder for the artifact; what a cut attempt logged waits in `work`. Returns its manifest."""
        before = read_manifest(out) if out.is_dir() and read_marker(out) is None else None
        if before is not None and before.key != key:
            before = None
        if before is None:
            self.folder.retire(out)
        work.mkdir(parents=True, exist_ok=True)
        if before is not None:
            before = before.model_copy(update={"seconds": before.seconds + _unrecorded_seconds(out)})
            set_aside(out, work)
            shutil.rmtree(out)
        out.mkdir()
        return before

    def _finish(self, stage: Stage, context: StageContext, running: Manifest) -> None:
        gates = [
            ManifestGate(name=g.name, passed=g.passed, message=g.message, figures=dict(g.figures))
            for g in context.gates
        ]
        failed = [gate for gate in gates if not gate.passed]
        manifest = running.model_copy(
            update={
                "status": "gate failed" if failed else "complete",
                "gates": gates,
                "figures": context.figures,
                "peak_memory_mb": peak_memory_mb(),
                "finished": _now(),
            }
        )
        write_manifest(context.out, manifest)
        if failed:
            causes = "; ".join(f"{gate.name}: {gate.message}" for gate in failed)
            raise GateFailed(f"{stage.id} did not pass its check. {causes}. What it made is in {context.out}")
        write_marker(context.out)
        self.store.put(stage.kind, manifest.key, context.out)
        self.folder.clear_work(stage.id)
        self._say(stage, f"done in {manifest.seconds:.0f} s, {manifest.peak_memory_mb:,.0f} MB")

    def _say(self, stage: Stage, text: str) -> None:
        self.send({"event": "say", "stage": stage.id, "text": f"{stage.id}: {text}"})


def _unrecorded_seconds(out: Path) -> float:
    """Time an attempt computed after it last wrote its manifest: what a kill kept it from adding."""
    if not (out / METRICS).is_file():
        return 0.0
    return max(0.0, (out / METRICS).stat().st_mtime - (out / MANIFEST).stat().st_mtime)


def versions(kind: str) -> dict[str, str]:
    """Versions of what decides a result: Python, this package and its source, the libraries below."""
    found = {"python": platform.python_version(), "tuningfork": __version__, "source": code_version(kind)[:16]}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "missing"
    return found


def peak_memory_mb() -> float:
    """Largest resident memory of this process since the last reset, or of one of its children."""
    try:
        status = Path("/proc/self/status").read_text()
        own = float(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))) / 1024
    except (OSError, StopIteration):
        own = _megabytes(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    return round(max(own, _megabytes(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)), 1)


def _megabytes(ru_maxrss: int) -> float:
    return ru_maxrss / (1024 * 1024 if sys.platform == "darwin" else 1024)


def _reset_peak_memory() -> None:
    """Where Linux allows it, so that each stage's figure is its own and not that of the stage before."""
    if os.access("/proc/self/clear_refs", os.W_OK):
        Path("/proc/self/clear_refs").write_text("5")


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")
