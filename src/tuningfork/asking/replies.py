"""Replies on disk, in SQLite: each is there before the next question is sent, whatever kills the process.

Beside them stands which questions are being asked at this moment, so that two runs never pay for one question.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from tuningfork.asking.owner import Owner
from tuningfork.errors import RunError


@dataclass(frozen=True)
class Reply:
    """What a model wrote, whether it ended by itself, and what it cost in tokens."""

    text: str
    has_ended: bool
    prompt_tokens: int
    reply_tokens: int
    label_logprobs: dict[str, float] | None = None
    """for a question with labels, where the model tells: log-probability that the reply begins with each; a label that
    is not in here is too improbable to have been told"""


class Replies:
    """Replies by key, in one file that several processes may use at once. The first reply to a question stays."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._folder = path.parent
        is_new = not path.exists()
        try:
            self._database = sqlite3.connect(path, timeout=60, isolation_level=None)
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = FULL")
            self._database.execute(
                "CREATE TABLE IF NOT EXISTS replies (key TEXT PRIMARY KEY, reply TEXT NOT NULL, kept_at REAL NOT NULL)"
            )
            self._database.execute("CREATE TABLE IF NOT EXISTS claims (key TEXT PRIMARY KEY, owner TEXT NOT NULL)")
        except sqlite3.DatabaseError as error:
            raise RunError(f"{path}: not a file of replies ({error}); move it away to begin a new one") from error
        if is_new:
            os.chmod(path, 0o600)  # prompts may be private

    def get(self, keys: Iterable[str]) -> dict[str, Reply]:
        """The replies that are there, by key."""
        found = {}
        for key in keys:
            row = self._database.execute("SELECT reply FROM replies WHERE key = ?", (key,)).fetchone()
            if row:
                found[key] = Reply(**json.loads(row[0]))
        return found

    def keep(self, key: str, reply: Reply) -> None:
        """Write a reply through to the disk, unless there is one."""
        content = json.dumps(asdict(reply), ensure_ascii=False)
        self._database.execute("INSERT OR IGNORE INTO replies VALUES (?, ?, ?)", (key, content, time.time()))

    @contextmanager
    def claimed(self, keys: Iterable[str]) -> Iterator[set[str]]:
        """Those of the keys that nobody is asking at this moment; inside the context nobody else gets them.

        What another process or thread holds is free again when it leaves its context or dies.
        """
        with Owner(self._folder) as owner:
            try:
                yield self._claim(keys, owner)
            finally:
                self._database.execute("DELETE FROM claims WHERE owner = ?", (owner.name,))

    def _claim(self, keys: Iterable[str], owner: Owner) -> set[str]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            holders = {name for (name,) in self._database.execute("SELECT DISTINCT owner FROM claims")}
            for name in holders:
                if not owner.is_alive(name):
                    self._database.execute("DELETE FROM claims WHERE owner = ?", (name,))
            made = "INSERT OR IGNORE INTO claims VALUES (?, ?)"
            return {key for key in keys if self._database.execute(made, (key, owner.name)).rowcount}
        finally:
            self._database.execute("COMMIT")

    def __len__(self) -> int:
        return int(self._database.execute("SELECT count(*) FROM replies").fetchone()[0])
