"""One run on a folder at a time: an advisory file lock, held by the supervisor and its worker, with a heartbeat.

On one machine the operating system frees the lock when the last holder dies. On a folder shared between machines, where
such locks may not reach, the heartbeat of the owner named in the file decides.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from tuningfork.errors import RunError

FILE = ".lock"
_BEAT, _STALE, _LINGER = 5.0, 60.0, 30.0


class RunLock:
    """The lock of a run folder; use as a context manager. RunError while another run is active on the folder."""

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        self.path, self._say = folder / FILE, say
        self._stopped = threading.Event()
        self.descriptor = -1

    def __enter__(self) -> RunLock:
        self.descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            owner = _read_owner(self.path)
            self._take(owner)
        except BaseException:
            os.close(self.descriptor)
            raise
        if owner and not owner.get("released"):
            self._say(f"the last run on this folder (pid {owner['pid']} on {owner['host']}) was cut; going on")
        self._write({"pid": os.getpid(), "host": platform.node(), "started": time.time()})
        threading.Thread(target=self._beat, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._write({"pid": os.getpid(), "host": platform.node(), "released": True})
        os.close(self.descriptor)

    def _take(self, owner: dict[str, Any] | None) -> None:
        """Hold the file lock. A worker whose supervisor was killed is given time to stop."""
        deadline, waiting = time.monotonic() + _LINGER, False
        while True:
            try:
                fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if owner is None or _is_alive(owner) or time.monotonic() > deadline:
                    raise RunError(_active(self.path.parent, _read_owner(self.path))) from None
                if not waiting:
                    self._say("waiting for the worker of a killed run to stop")
                waiting = True
                time.sleep(0.2)
        if owner and owner["host"] != platform.node() and not owner.get("released"):
            age = time.time() - self.path.stat().st_mtime
            if age < _STALE:
                raise RunError(_active(self.path.parent, owner))

    def _write(self, owner: dict[str, Any]) -> None:
        text = json.dumps(owner).encode()
        os.ftruncate(self.descriptor, 0)
        os.pwrite(self.descriptor, text, 0)

    def _beat(self) -> None:
        while not self._stopped.wait(_BEAT):
            os.utime(self.path)


def _active(folder: Path, owner: dict[str, Any] | None) -> str:
    who = f" (pid {owner['pid']} on {owner['host']})" if owner else ""
    return f"{folder}: a run is active on this folder{who}; wait for it, stop it, or choose another --out"


def _read_owner(path: Path) -> dict[str, Any] | None:
    try:
        owner = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return None  # just made, or cut while it was written
    return owner if isinstance(owner, dict) and {"pid", "host"} <= owner.keys() else None


def _is_alive(owner: dict[str, Any]) -> bool:
    if owner["host"] != platform.node():
        return True
    try:
        os.kill(owner["pid"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
