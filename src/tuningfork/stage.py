"""What a stage is given: where to write, what to read, how to report. The only thing a stage knows of its run.

A stage is one file, `stages/<kind>.py`:

    class StageSettings(Settings): ...
    def run(stage: StageContext, settings: StageSettings) -> None: ...

It reads `stage.inputs[...]`, writes its artifact's files below `stage.out`, and keeps what it needs to resume below
`stage.work`. It is called again with the same `stage.work` after an interruption.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from tuningfork.errors import Interrupted
from tuningfork.runtime import Runtime


@dataclass(frozen=True)
class ResolvedInput:
    """One input of a stage.

    `path` is a file or folder that exists, or None for a hub id; `reference` is what a loader should be given: the
    path as text, or the hub id. `key` changes when the content changes. `manifest` is the producing stage's manifest,
    empty for files from outside. `num_choices`, for a `ReadOnceInput`: how many different settings have read it so far.
    """

    reference: str
    key: str
    path: Path | None = None
    manifest: Mapping[str, Any] = field(default_factory=dict)
    num_choices: int = 1


@dataclass(frozen=True)
class Gate:
    """The result of one acceptance check."""

    name: str
    passed: bool
    message: str
    figures: Mapping[str, Any] = field(default_factory=dict)


class Progress(Protocol):
    """A progress display for one piece of long work; use as a context manager."""

    def __enter__(self) -> Progress: ...
    def __exit__(self, *exc: object) -> None: ...
    def advance(self, amount: float = 1, **figures: float) -> None: ...


class Events(Protocol):
    """Where a stage reports to. `log` writes one line of metrics.jsonl, `rewind` drops the lines after a step."""

    def log(self, *, step: int, **metrics: Any) -> None: ...
    def rewind(self, step: int) -> None: ...
    def say(self, text: str) -> None: ...
    def progress(self, total: float, label: str, unit: str = "step", done: float = 0) -> Progress: ...


class StopFlag:
    """Set by Ctrl-C or SIGTERM; long loops look at it between steps, checkpoint, and raise `Interrupted`."""

    def __init__(self) -> None:
        self.is_set = False
        self.reason = ""

    def set(self, reason: str) -> None:
        """Ask the running stage to stop at the next safe point."""
        self.is_set, self.reason = True, reason

    def check(self) -> None:
        """Raise `Interrupted` when a stop was asked for; call it only where everything worth keeping is on disk."""
        if self.is_set:
            raise Interrupted(f"stopped by {self.reason}; the same command resumes")


@dataclass
class StageContext:
    """Everything a running stage may use."""

    id: str
    out: Path
    """folder of the artifact being written; complete only when the pipeline says so"""
    work: Path
    """checkpoints and caches of this stage, kept until the stage is complete"""
    seed: int
    runtime: Runtime
    inputs: Mapping[str, ResolvedInput]
    events: Events
    stop: StopFlag = field(default_factory=StopFlag)
    gates: list[Gate] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    """headline numbers of the stage; written to the manifest and the card"""

    def gate(self, name: str, passed: bool, message: str, **figures: Any) -> None:
        """Record an acceptance check. The pipeline stops the run after this stage if any gate failed."""
        self.gates.append(Gate(name, bool(passed), message, figures))
        self.events.say(f"gate {name}: {'passed' if passed else 'FAILED'}, {message}")

    def sample(self, **row: Any) -> None:
        """Append one row to the artifact's samples.jsonl."""
        with (self.out / "samples.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
