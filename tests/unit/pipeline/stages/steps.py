"""A stage that counts, keeps a checkpoint, and can be made to fail in every way a stage can fail."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import signal
import time

from pydantic import Field

from tuningfork.errors import DataError
from tuningfork.settings import Code, Input, Settings
from tuningfork.stage import StageContext


class Inner(Settings):
    """A component with settings of its own."""

    rate: float = Field(0.5, gt=0, le=1)
    """how fast"""
    floor: float = 0.1
    """where it ends"""


class StageSettings(Settings):
    """Settings of the stage `steps`."""

    data: Input | None = None
    """something to read"""
    model: Input | None = None
    """a model to start from"""
    more: tuple[Input, ...] = ()
    """more things to read"""
    steps: int = Field(3, ge=1)
    """how many steps"""
    inner: Inner = Inner(rate=0.9)
    """a component"""
    pause: float = 0.0
    """seconds per step"""
    fail: str = ""
    """`kill once`, `kill`, `disk`, `fault`, `user`: what happens after the second step"""
    passes: bool = True
    """whether the gate passes"""
    reward: Code | None = None
    """code to name"""


def run(stage: StageContext, settings: StageSettings) -> None:
    """Hash step after step; the result is a function of settings, seed and inputs alone."""
    saved = stage.work / "state.json"
    state = json.loads(saved.read_text()) if saved.is_file() else {"step": 0, "digest": f"{stage.seed}"}
    if state["step"]:
        stage.events.rewind(state["step"])
        stage.events.say(f"resumed after step {state['step']}")
    with stage.events.progress(settings.steps, "count", done=state["step"]) as bar:
        for step in range(state["step"] + 1, settings.steps + 1):
            time.sleep(settings.pause)
            state = {"step": step, "digest": hashlib.sha256(f"{state['digest']}{step}".encode()).hexdigest()}
            stage.events.log(step=step, digest=state["digest"])
            stage.sample(step=step, text=f"step {step}")
            bar.advance(1, loss=1 / step)
            temporary = saved.with_suffix(".tmp")
            temporary.write_text(json.dumps(state))
            temporary.replace(saved)
            stage.stop.check()
            if step == 2 or (settings.fail == "kill" and step > 2):
                _fail(stage, settings)
    (stage.out / "result.txt").write_text(state["digest"])
    stage.figures.update(steps=settings.steps)
    stage.gate("counted", settings.passes, f"counted to {settings.steps}", steps=settings.steps)


def _fail(stage: StageContext, settings: StageSettings) -> None:
    first = stage.work / "failed"
    if settings.fail == "kill" or (settings.fail == "kill once" and not first.exists()):
        first.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if settings.fail == "disk":
        raise OSError(errno.ENOSPC, "No space left on device")
    if settings.fail == "fault":
        raise ZeroDivisionError("a fault of ours")
    if settings.fail == "user":
        raise DataError(f"rows.jsonl:7: not JSON in {stage.id}")
