"""The parent of a run: holds the folder's lock, starts the worker, passes signals on, restarts it once if killed.

No torch here: the parent is small, and survives a worker that the system kills for its memory.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from tuningfork import search
from tuningfork.artifacts.lock import RunLock
from tuningfork.artifacts.run_folder import RunFolder
from tuningfork.artifacts.store import store_folder
from tuningfork.display import Display
from tuningfork.errors import DataError, GateFailed, Interrupted, ModelError, RecipeError, RunError, TuningforkError
from tuningfork.faults import as_user_error
from tuningfork.recipe import Recipe
from tuningfork.resolved import render_resolved
from tuningfork.summaries import finish_run, finish_seeds
from tuningfork.trust import require_trust

STOP_DEADLINE = 60.0
_ERRORS = {e.__name__: e for e in (RecipeError, DataError, ModelError, RunError, GateFailed, Interrupted)}


class WorkerCrashed(TuningforkError):
    """The worker ended by a fault of ours; the log has its traceback."""

    exit_code = 1


@dataclass
class Supervisor:
    """Runs a recipe in a folder. `stop_deadline`: seconds a worker gets to stop after a signal."""

    recipe: Recipe
    folder: RunFolder
    store: Path
    display: Display
    stop_deadline: float = STOP_DEADLINE

    def run(self) -> None:
        """Run every pending stage and make summary and report. TuningforkError of the kind the worker ended with."""
        stages = [stage.folder for stage in self.recipe.stages]
        self.folder.check(self.recipe.name)
        self.folder.path.mkdir(parents=True, exist_ok=True)
        with RunLock(self.folder.path, self.display.say) as lock:
            self.folder.prepare(self.recipe.name, render_resolved(self.recipe), stages)
            chosen = self._search(lock) if self.recipe.header.search else self.recipe
            if chosen.header.seeds is None:
                self._run_one(chosen, self.folder, lock)
                return
            for seed in chosen.header.seeds:
                self.display.say(f"seed {seed}")
                recipe, folder = chosen.with_seed(seed), RunFolder(self.folder.path / f"seed-{seed}")
                folder.prepare(recipe.name, render_resolved(recipe), stages)
                self._run_one(recipe, folder, lock)
            finish_seeds(chosen, self.folder)

    def _search(self, lock: RunLock) -> Recipe:
        """Run the trials of the recipe's search; returns the recipe with what was chosen."""
        found = []
        for number, trial in enumerate(tried := search.trials(self.recipe)):
            self.display.say(f"search {number + 1} of {len(tried)}, seed {trial.header.seed}")
            folder = RunFolder(self.folder.path / f"search-{number}")
            folder.prepare(trial.name, render_resolved(trial), [stage.folder for stage in trial.stages])
            self._run_one(trial, folder, lock)
            found.append(folder)
        choice = search.choose(self.recipe, found)
        search.save(choice, self.folder)
        for name, one in choice.contestants.items():
            values = ", ".join(f"{key}={value}" for key, value in one.tried[one.chosen].values.items())
            self.display.say(f"search: {name} takes {values} ({one.reason})")
        return search.with_choice(self.recipe, choice)

    def _run_one(self, recipe: Recipe, folder: RunFolder, lock: RunLock) -> None:
        try:
            self._work(recipe, folder, lock)
        except GateFailed:
            finish_run(recipe, folder)
            raise
        finish_run(recipe, folder)

    def _work(self, recipe: Recipe, folder: RunFolder, lock: RunLock) -> None:
        ended = self._start_worker(folder, lock)
        if ended.returncode == -signal.SIGKILL and not ended.asked_to_stop:
            self.display.say("the worker was killed (out of memory?); starting it once more from its last checkpoint")
            ended = self._start_worker(folder, lock)
        if ended.returncode == 0:
            return
        if ended.asked_to_stop and ended.last is None:
            raise Interrupted("stopped at once; the same command resumes from the last checkpoint")
        if ended.returncode == -signal.SIGKILL:
            raise RunError(
                "the worker was killed again: most likely too little memory; lower micro_batch or batch sizes"
            )
        if ended.last is None or ended.returncode == 1:
            cause = ended.last["message"] if ended.last else f"the worker ended with code {ended.returncode}"
            raise WorkerCrashed(
                f"{cause}\nThis is a fault of Tuningfork or of code the recipe names; the traceback is in {folder.log}"
            )
        raise _ERRORS.get(ended.last["error"], TuningforkError)(ended.last["message"])

    def _start_worker(self, folder: RunFolder, lock: RunLock) -> _Ended:
        reader, writer = os.pipe()
        command = [sys.executable, "-m", "tuningfork.worker", str(folder.path), str(self.store), str(writer)]
        with folder.log.open("ab") as log:
            worker = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(writer, lock.descriptor),
                start_new_session=True,
            )
        os.close(writer)
        with (
            _pass_signals(worker, self.display, self.stop_deadline) as signals,
            os.fdopen(reader, encoding="utf-8") as channel,
        ):
            last = None
            try:
                for line in channel:
                    message = _parse(line)
                    if message.get("event") == "end":
                        last = message
                    elif message:
                        self.display.show(message)
                worker.wait()
            finally:
                if worker.poll() is None:
                    worker.kill()
                    worker.wait()
                self.display.close()
        return _Ended(worker.returncode, last, bool(signals))


@dataclass(frozen=True)
class _Ended:
    returncode: int
    last: dict[str, Any] | None
    asked_to_stop: bool


def _parse(line: str) -> dict[str, Any]:
    try:
        return json.loads(line)
    except ValueError:
        return {}  # cut short by a kill


@contextmanager
def _pass_signals(worker: subprocess.Popen[bytes], display: Display, deadline: float) -> Iterator[list[int]]:
    """Hand Ctrl-C and SIGTERM to the worker; a second one, or the deadline, kills it. Yields the signals received."""
    received: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        received.append(number)
        if number == signal.SIGALRM or len(received) > 1:
            worker.kill()
            return
        display.say("stopping at the next safe point; once more stops at once")
        worker.send_signal(number)
        signal.setitimer(signal.ITIMER_REAL, deadline)

    handled = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)
    previous = {number: signal.signal(number, handle) for number in handled} if _in_main_thread() else {}
    try:
        yield received
    finally:
        if previous:
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in previous.items():
            signal.signal(number, handler)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def run_recipe(
    recipe: Recipe,
    out: str | Path | None = None,
    *,
    store: str | Path | None = None,
    trust: bool = False,
    display: Display | None = None,
) -> RunFolder:
    """Run a recipe (or what is left of it) in `out`, by default runs/<name>. Returns the run's folder."""
    folder = RunFolder(Path(out) if out is not None else Path("runs") / recipe.name)
    display = display or Display()
    require_trust(recipe, display.say, trust)
    try:
        Supervisor(recipe, folder, store_folder(folder.path, Path(store) if store else None), display).run()
    except OSError as error:
        if isinstance(error, TuningforkError) or (user_error := as_user_error(error, folder.path)) is None:
            raise
        raise user_error from error
    return folder
