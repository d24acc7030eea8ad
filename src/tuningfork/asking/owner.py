"""Somebody who is at work, known by a file that is locked as long as that lasts: the system unlocks it when a process dies."""

from __future__ import annotations

import fcntl
import os
import uuid
from pathlib import Path


class Owner:
    """One who holds something; use as a context manager. `name` tells it from all others, of any process or thread."""

    def __init__(self, folder: Path) -> None:
        self._folder, self.name = folder, uuid.uuid4().hex
        self._descriptor = -1

    def __enter__(self) -> Owner:
        self._descriptor = os.open(self._path(self.name), os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        return self

    def __exit__(self, *exception: object) -> None:
        self._path(self.name).unlink(missing_ok=True)
        os.close(self._descriptor)

    def is_alive(self, name: str) -> bool:
        """Whether the owner of that name is still at work; the file of one that died is removed."""
        try:
            descriptor = os.open(self._path(name), os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        else:
            self._path(name).unlink(missing_ok=True)
            return False
        finally:
            os.close(descriptor)

    def _path(self, name: str) -> Path:
        return self._folder / f"asking-{name}.lock"
