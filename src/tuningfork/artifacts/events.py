"""The stream of events of a running stage: rows of metrics.jsonl, and messages for whoever displays the run.

Rows of an earlier, cut attempt are set aside when a stage starts. `rewind(step)`, which a resumed loop calls, brings
back those up to its checkpoint, so that a resumed run's file looks as if it had never been cut.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from tuningfork.artifacts.files import write_text

METRICS, SAMPLES = "metrics.jsonl", "samples.jsonl"
_SEND_EVERY = 0.2

Send = Callable[[dict[str, Any]], None]


class RunEvents:
    """Events of one stage. `send` takes display messages as plain data."""

    def __init__(self, stage: str, out: Path, work: Path, send: Send) -> None:
        self.stage, self.out, self.work, self._send = stage, out, work, send
        self._file: IO[str] | None = None
        self._bars = 0

    def log(self, *, step: int, **metrics: Any) -> None:
        """Append one row to metrics.jsonl; numbers that are not finite become null."""
        row = {"step": step, **{name: _finite(value) for name, value in metrics.items()}}
        if self._file is None:
            self._file = (self.out / METRICS).open("a", encoding="utf-8")
        self._file.write(json.dumps(row, ensure_ascii=False, default=float) + "\n")
        self._file.flush()

    def rewind(self, step: int) -> None:
        """Keep, of what earlier attempts logged, the rows up to `step`."""
        self.close()
        for name in (METRICS, SAMPLES):
            kept = [row for row in read_rows(self.work / name) if row.get("step", step + 1) <= step]
            new = [row for row in read_rows(self.out / name) if "step" not in row]
            if kept or new:
                write_text(self.out / name, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept + new))

    def say(self, text: str) -> None:
        """Show a line of text."""
        self._send({"event": "say", "stage": self.stage, "text": text})

    def progress(self, total: float, label: str, unit: str = "step", done: float = 0) -> Bar:
        """A progress display of `total` units of work, `done` of them before now."""
        self._bars += 1
        return Bar(self._send, f"{self.stage}/{self._bars}", total, label, unit, done)

    def close(self) -> None:
        """Finish writing."""
        if self._file is not None:
            os.fsync(self._file.fileno())
            self._file.close()
            self._file = None


class Bar:
    """A progress display. Messages are sent at most a few times a second."""

    def __init__(self, send: Send, name: str, total: float, label: str, unit: str, done: float) -> None:
        self._send, self._name = send, name
        self._start = {"event": "start", "bar": name, "total": total, "label": label, "unit": unit, "done": done}
        self._done, self._sent, self._figures = done, 0.0, dict[str, float]()

    def __enter__(self) -> Bar:
        self._send(self._start)
        return self

    def advance(self, amount: float = 1, **figures: float) -> None:
        """Count `amount` units as done; figures are shown beside the bar until others come."""
        self._done += amount
        self._figures.update(figures)
        if time.monotonic() - self._sent > _SEND_EVERY:
            self._report()

    def __exit__(self, *exc: object) -> None:
        self._report()
        self._send({"event": "stop", "bar": self._name, "failed": bool(exc and exc[0])})

    def _report(self) -> None:
        self._sent = time.monotonic()
        self._send({"event": "advance", "bar": self._name, "done": self._done, "figures": self._figures})


def set_aside(out: Path, work: Path) -> None:
    """Move the rows of an earlier attempt from `out` to `work`; a later attempt's take the place of earlier ones."""
    for name in (METRICS, SAMPLES):
        if (out / name).is_file():
            os.replace(out / name, work / name)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Rows of a JSONL file of ours; nothing where there is none. A last line cut short by a crash is left out."""
    if not path.is_file():
        return []
    rows = []
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            rows.append(json.loads(line))
        except ValueError:
            assert number == len(lines), f"{path}:{number} is damaged in the middle"
    return rows


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))) else value
