"""Items from the current policy of a run: its answers at several temperatures or checkpoints, drawn ahead of the annotators."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select

from tuningfork.artifacts.manifest import read_manifest
from tuningfork.artifacts.run_folder import RECIPE, RunFolder
from tuningfork.artifacts.store import content_key
from tuningfork.data.adapters import prompt_text
from tuningfork.data.reader import open_data
from tuningfork.errors import DataError, ModelError, RunError
from tuningfork.feedback import schema
from tuningfork.feedback.database import Database
from tuningfork.feedback.items import NewItem, add_items, count
from tuningfork.feedback.project import ProjectSettings
from tuningfork.feedback.sampler import Draw, Sampler
from tuningfork.randomness import numpy_generator
from tuningfork.serve.models import RunModels, find_models

_LONGEST = 256
_CHUNK = 16
_LOOK_AGAIN = 1.0
_PROMPT_SHAPES = ("prompts", "prompt_completion", "preference")


@dataclass(frozen=True)
class Drawing:
    """How answers are drawn. Answer i comes from checkpoint i and temperature i, each list begun again at its end."""

    checkpoints: tuple[str, ...] = ("after",)
    """`after` is the run's latest model, `before` the one before that; or a model's folder"""
    temperatures: tuple[float, ...] = (1.0,)
    answers: int = 2
    max_new_tokens: int | None = None
    """longest answer; empty is what the run sampled with"""


def is_run(path: str | Path) -> bool:
    """Whether this is a run's folder."""
    return (Path(path) / RECIPE).is_file()


def open_policy(model: str, drawing: Drawing, seed: int = 0) -> Sampler:
    """What draws answers from a run's models, or from one model's folder. RunError where there is no model."""
    if drawing.answers < 2:
        raise RunError("--answers: two are needed for a comparison")
    run = find_models(_seed_run(model)) if is_run(model) else None
    if run is None and not (Path(model) / "config.json").is_file():
        raise RunError(f"{model} is neither a run's folder nor a model's")
    places = [_checkpoint(name, run, model) for name in drawing.checkpoints]
    sampling: dict[str, Any] = dict((run.settings.get("sampling") if run else None) or {})
    longest = drawing.max_new_tokens or sampling.get("max_new_tokens") or _LONGEST
    draws = [
        Draw(
            index % len(places),
            {"max_new_tokens": longest, "temperature": drawing.temperatures[index % len(drawing.temperatures)]},
        )
        for index in range(drawing.answers)
    ]
    ending = None if run is None or run.talks else run.prompt_ending
    return Sampler(places, [artifact_key(place) for place in places], draws, seed=seed, prompt_ending=ending)


def next_policy(sampler: Sampler, drawing: Drawing, model: Path) -> Sampler:
    """The same with a new model as `after`, and the one that was `after` as `before`."""
    known = dict(zip(drawing.checkpoints, sampler.models, strict=True))
    renewed = {"after": str(model), "before": known.get("after", sampler.models[0])}
    places = [renewed.get(name, known[name]) for name in drawing.checkpoints]
    keys = [artifact_key(Path(place)) for place in places]
    return Sampler(places, keys, sampler.draws, seed=sampler.seed, prompt_ending=sampler.prompt_ending)


def prompts_of(source: str, seed: int = 0) -> list[dict[str, Any]]:
    """Prompts of a file, or those a run trained on, in an order drawn by seed: `{"id", "root", "prompt" or "messages"}`."""
    file = _training_prompts(_seed_run(source)) if is_run(source) else source
    data = open_data(file, accept=_PROMPT_SHAPES)
    if data.shape not in _PROMPT_SHAPES:
        raise DataError(f"{file}: {data.shape} rows have no prompts to answer")
    rows = []
    for number, row in enumerate(data, 1):
        extra = row.get("extra", {})
        prompt = row["prompt"]
        name = str(extra.get("id", number))
        kind = "prompt" if isinstance(prompt, str) else "messages"
        rows.append({"id": name, "root": str(extra.get("root", name)), kind: prompt})
    if not rows:
        raise DataError(f"{file}: no prompts")
    return [rows[index] for index in numpy_generator(seed, "prompts").permutation(len(rows))]


class Filler:
    """Draws answers in a thread so that `ahead` judgements are always left to give, until every prompt was used."""

    def __init__(
        self,
        database: Database,
        settings: ProjectSettings,
        sampler: Sampler,
        prompts: Sequence[dict[str, Any]],
        *,
        ahead: int = 60,
        round_number: int = 0,
    ) -> None:
        self.database, self.settings, self.sampler = database, settings, sampler
        self.prompts, self.ahead, self.round = prompts, ahead, round_number
        self.fault = ""
        """why it stopped before its time"""
        self.without_choice = 0
        """prompts whose answers were all equal, and are not shown"""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._fill, daemon=True)

    def start(self) -> None:
        """Begin in a thread."""
        self._thread.start()

    def stop(self) -> None:
        """End after the chunk that is being drawn."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def is_done(self) -> bool:
        """Whether nothing more will come."""
        return not self._thread.is_alive()

    def _fill(self) -> None:
        chunks = self._chunks()
        while not self._stop.is_set():
            if count(self.database).left >= self.ahead:
                self._stop.wait(_LOOK_AGAIN)
                continue
            chunk = next(chunks, None)
            if chunk is None:
                return
            try:
                self._add(chunk)
            except (ModelError, DataError) as error:
                self.fault = str(error)
                return

    def _chunks(self) -> Iterator[Sequence[dict[str, Any]]]:
        """Prompts that have no item yet, some at a time."""
        items = schema.items.c
        with self.database.read() as connection:
            known = set(connection.scalars(select(items.name).where(items.round == self.round)))
        left = [row for row in self.prompts if self._name(row) not in known]
        for start in range(0, len(left), _CHUNK):
            yield left[start : start + _CHUNK]

    def _name(self, row: dict[str, Any]) -> str:
        return f"round {self.round}/{row['id']}"

    def _add(self, rows: Sequence[dict[str, Any]]) -> None:
        items = []
        for row, drawn in zip(rows, self.sampler.draw(rows), strict=True):
            if len(drawn.candidates) < 2:
                self.without_choice += 1
                continue
            items.append(
                NewItem(
                    name=self._name(row),
                    root=row["root"],
                    prompt=prompt_text(row.get("messages") or row["prompt"]),
                    messages=row.get("messages"),
                    prompt_ids=drawn.prompt_ids,
                    candidates=drawn.candidates,
                    source=self.sampler.models[0],
                    priority=float(self.round),
                    round=self.round,
                )
            )
        add_items(self.database, items, self.settings)


def _seed_run(run: str | Path) -> Path:
    """The run itself, or its first seed."""
    seeds = RunFolder(Path(run)).seed_runs()
    return seeds[0].path if seeds else Path(run)


def _checkpoint(name: str, run: RunModels | None, model: str) -> Path:
    if name == "after":
        return run.after if run else Path(model)
    if name == "before":
        if run is None or run.before is None:
            raise RunError(f"{model} has no earlier model to compare with")
        return run.before
    if not (Path(name) / "config.json").is_file():
        raise RunError(f"--checkpoints: {name!r} is neither after, before nor a model's folder")
    return Path(name)


def artifact_key(model: Path) -> str:
    """What later stages know a model of a run by; the folder's name for another."""
    manifest = read_manifest(model.parent)
    if manifest is None:
        return str(model)
    return content_key(model.parent, manifest.model_dump(mode="json"), model.name)


def _training_prompts(run: Path) -> str:
    """The file of prompts that a stage of the run trained with; never one that `evaluate` reads."""
    folder = RunFolder(run)
    manifests = folder.manifests()
    tested = {str(m.settings.get("prompts")) for m in manifests if m.kind == "evaluate"}
    for manifest in reversed(manifests):
        named = str(manifest.settings.get("prompts", ""))
        stage, _, file = named.partition("/")
        if manifest.kind == "evaluate" or named in tested or not file:
            continue
        for other in folder.stage_folders():
            if other.name.partition("-")[2] == stage and (other / file).is_file():
                return str(other / file)
        if Path(named).is_file():
            return named
    raise DataError(f"{run}: no stage has prompts to train on; name a file of prompts with --prompts")
