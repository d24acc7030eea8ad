"""Runs that are cut: signals, kills of the worker and of the whole tree at random points, two runs on one folder."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tuningfork.artifacts.lock import FILE, RunLock
from tuningfork.artifacts.store import damaged_files
from tuningfork.errors import RunError
from tuningfork.recipe import load_recipe
from tuningfork.supervisor import run_recipe

SLOW_STEPS = "- steps: {steps: 25, pause: 0.1}"


class Command:
    """`tuningfork run RECIPE --out run` in a process group of its own."""

    def __init__(self, recipe: Path, folder: Path, *overrides: str) -> None:
        self.folder = folder
        command = [sys.executable, "-m", "tuningfork.cli", "run", str(recipe), "--out", str(folder), *overrides]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )

    def wait_for_step(self, step: int) -> None:
        """Wait until the first stage has logged a step."""
        deadline = time.monotonic() + 60
        while len(list(self.folder.glob("1-*/metrics.jsonl"))) == 0 or self.last_step() < step:
            assert time.monotonic() < deadline and self.process.poll() is None, self.output()
            time.sleep(0.02)

    def last_step(self) -> int:
        """Steps logged so far."""
        return sum(path.read_text().count("\n") for path in self.folder.glob("1-*/metrics.jsonl"))

    def worker(self) -> int:
        """Process id of the worker."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return int(children[0])

    def output(self) -> str:
        """Everything shown, after the end."""
        if self.process.poll() is None:
            self.process.kill()
        return self.process.communicate(timeout=60)[0]

    def end(self) -> tuple[int, str]:
        """Exit code and what was shown."""
        shown, _ = self.process.communicate(timeout=90)
        return self.process.returncode, shown


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Command]]:
    """Start commands; those still running are killed at the end."""
    commands: list[Command] = []

    def begin(recipe: Path, *overrides: str) -> Command:
        commands.append(Command(recipe, tmp_path / "run", *overrides))
        return commands[-1]

    yield begin
    for command in commands:
        if command.process.poll() is None:
            command.process.kill()
        command.process.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_stops_after_the_step_and_the_same_command_resumes(
    number: signal.Signals, tmp_path: Path, write_recipe, start
) -> None:
    recipe = write_recipe(SLOW_STEPS)
    command = start(recipe)
    command.wait_for_step(3)
    command.process.send_signal(number)
    code, shown = command.end()
    assert code == 130 and "the same command resumes" in shown and "Traceback" not in shown
    code, shown = start(recipe).end() if command.last_step() < 25 else (1, "it did not stop")
    assert code == 0 and "resumed after step" in shown
    assert _steps(tmp_path / "run") == list(range(1, 26))


def test_second_signal_kills_at_once(tmp_path: Path, write_recipe, start) -> None:
    recipe = write_recipe("- steps: {steps: 3, pause: 30}")
    command = start(recipe)
    deadline = time.monotonic() + 60
    while not list((tmp_path / "run").glob("1-*/manifest.json")) and time.monotonic() < deadline:
        time.sleep(0.05)
    command.process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    command.process.send_signal(signal.SIGINT)
    begun = time.monotonic()
    code, shown = command.end()
    assert code == 130 and "stopped at once" in shown and time.monotonic() - begun < 10


def test_killed_worker_is_restarted_and_the_result_is_that_of_a_whole_run(tmp_path: Path, write_recipe, start) -> None:
    recipe = write_recipe(SLOW_STEPS)
    command = start(recipe)
    command.wait_for_step(5)
    os.kill(command.worker(), signal.SIGKILL)
    code, shown = command.end()
    assert code == 0 and "the worker was killed" in shown and "resumed after step" in shown
    _assert_like_a_whole_run(tmp_path, write_recipe)


def test_worker_of_a_killed_supervisor_stops_and_the_same_command_goes_on(tmp_path: Path, write_recipe, start) -> None:
    recipe = write_recipe(SLOW_STEPS)
    command = start(recipe)
    command.wait_for_step(3)
    command.process.kill()
    command.process.wait()
    code, shown = start(recipe).end()
    assert code == 0 and "was cut; going on" in shown and "resumed after step" in shown
    _assert_like_a_whole_run(tmp_path, write_recipe)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_kills_of_the_whole_tree_at_random_points(seed: int, tmp_path: Path, write_recipe, start) -> None:
    draw = random.Random(seed)
    recipe = write_recipe("- steps: {id: a, steps: 20, pause: 0.05}\n- steps: {id: b, steps: 20, pause: 0.05, data: a}")
    for _ in range(40):
        command = start(recipe)
        time.sleep(draw.uniform(0.2, 2.5))
        if command.process.poll() is None:
            _kill_tree(command)
        else:
            break
    code, shown = start(recipe).end()
    assert code == 0, shown
    whole = tmp_path / "whole"
    run_recipe(load_recipe(recipe), whole, store=tmp_path / "fresh")
    for folder in ("1-a", "2-b"):
        assert damaged_files(tmp_path / "run" / folder) == []
        for name in ("result.txt", "metrics.jsonl", "samples.jsonl"):
            assert (tmp_path / "run" / folder / name).read_text() == (whole / folder / name).read_text()


def test_second_run_on_the_same_folder_is_refused(tmp_path: Path, write_recipe, start) -> None:
    recipe = write_recipe("- steps: {steps: 600, pause: 0.1}")  # it is still at work however slowly the second begins
    first = start(recipe)
    first.wait_for_step(1)
    code, shown = start(recipe).end()
    assert code == 2 and f"a run is active on this folder (pid {first.process.pid} on" in shown
    first.process.send_signal(signal.SIGTERM)
    assert first.end()[0] == 130


def test_lock_left_by_a_dead_process_is_taken_over_with_a_line(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (tmp_path / FILE).write_text(json.dumps({"pid": dead.pid, "host": os.uname().nodename}))
    said: list[str] = []
    with RunLock(tmp_path, said.append):
        pass
    assert len(said) == 1 and "was cut" in said[0]
    with RunLock(tmp_path, said.append):
        pass
    assert len(said) == 1, "a lock that was given back is no reason for a line"


def test_lock_of_another_machine_holds_while_its_heart_beats(tmp_path: Path) -> None:
    lock = tmp_path / FILE
    lock.write_text(json.dumps({"pid": 1, "host": "elsewhere"}))
    with pytest.raises(RunError, match=r"active on this folder \(pid 1 on elsewhere\)"), RunLock(tmp_path, print):
        pass
    old = time.time() - 120
    os.utime(lock, (old, old))
    with RunLock(tmp_path, print):
        assert json.loads(lock.read_text())["pid"] == os.getpid()


def _kill_tree(command: Command) -> None:
    """SIGKILL to the supervisor and its worker, as when a machine loses power."""
    try:
        worker = command.worker()
    except (FileNotFoundError, IndexError):
        worker = None
    command.process.kill()
    if worker is not None:
        try:
            os.kill(worker, signal.SIGKILL)
        except ProcessLookupError:
            return


def _steps(folder: Path) -> list[int]:
    lines = (folder / "1-steps" / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["step"] for line in lines]


def _assert_like_a_whole_run(tmp_path: Path, write_recipe: Callable[..., Path]) -> None:
    """The cut run's files are those of a run that nobody cut."""
    whole = tmp_path / "whole"
    run_recipe(load_recipe(write_recipe("- steps: {steps: 25}", name="whole")), whole)
    for name in ("result.txt", "metrics.jsonl", "samples.jsonl"):
        assert (tmp_path / "run" / "1-steps" / name).read_text() == (whole / "1-steps" / name).read_text()
