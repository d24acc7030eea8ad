"""The child process of a run: `python -m tuningfork.worker RUN_FOLDER STORE CHANNEL`. It runs the stages and reports.

Messages go as JSON lines to the file descriptor CHANNEL; the last says how it ended. Standard output and error are the
run's log. The process stops by itself when its supervisor is gone.
"""

from __future__ import annotations

import faulthandler
import functools
import json
import os
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

from tuningfork.artifacts.events import Send
from tuningfork.artifacts.run_folder import RunFolder
from tuningfork.artifacts.store import Store
from tuningfork.errors import TuningforkError
from tuningfork.faults import as_user_error
from tuningfork.pipeline import Pipeline
from tuningfork.recipe import load_recipe
from tuningfork.runtime import settle_runtime
from tuningfork.stage import StopFlag

_ORPHAN_DEADLINE = 20.0


def main(arguments: list[str]) -> int:
    """Run the recipe of a run folder; returns the exit code."""
    folder, store, channel = RunFolder(Path(arguments[0])), Store(Path(arguments[1])), int(arguments[2])
    faulthandler.enable()
    send = functools.partial(_send, channel, threading.Lock())
    stop = StopFlag()
    signal.signal(signal.SIGINT, lambda *_: stop.set("Ctrl-C"))
    signal.signal(signal.SIGTERM, lambda *_: stop.set("SIGTERM"))
    threading.Thread(target=_follow_supervisor, args=(os.getppid(), stop), daemon=True).start()
    try:
        run_stages(folder, store, send, stop)
    except TuningforkError as error:
        send({"event": "end", "code": error.exit_code, "error": type(error).__name__, "message": str(error)})
        return error.exit_code
    except Exception as error:  # the last place where anything can be said about it
        user_error = as_user_error(error, folder.path)
        traceback.print_exc()
        if user_error is not None:
            send({"event": "end", "code": user_error.exit_code, "error": "RunError", "message": str(user_error)})
            return user_error.exit_code
        send({"event": "end", "code": 1, "error": type(error).__name__, "message": f"{type(error).__name__}: {error}"})
        return 1
    send({"event": "end", "code": 0, "error": "", "message": ""})
    return 0


def run_stages(folder: RunFolder, store: Store, send: Send, stop: StopFlag) -> None:
    """Run the stages of the folder's recipe that are not complete."""
    recipe = load_recipe(folder.recipe)
    runtime = settle_runtime(recipe.header.runtime, store.folder / "runtime.json")
    Pipeline(recipe, folder, store, send, stop, runtime).run()


def _send(channel: int, lock: threading.Lock, message: dict[str, Any]) -> None:
    line = json.dumps(message, ensure_ascii=False, default=str).encode() + b"\n"
    try:
        with lock:
            while line:
                line = line[os.write(channel, line) :]
    except BrokenPipeError:
        return  # the supervisor is gone; the watcher stops this process


def _follow_supervisor(supervisor: int, stop: StopFlag) -> None:
    """Stop at the next safe point when the supervisor is gone, and at once a while later."""
    while os.getppid() == supervisor:
        time.sleep(0.5)
    stop.set("the end of its supervisor")
    time.sleep(_ORPHAN_DEADLINE)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
