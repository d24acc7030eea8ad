"""Which settings have read which test prompts: a file beside the artifacts of a store, one line a read.

A test set is worth what it says only as long as nothing was chosen by it. Seeds are no choice; other settings are.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class ReadLedger:
    """The reads in a file. `content` is the key of the prompts, `choice` a hash of all settings but the seed."""

    path: Path

    def others(self, content: str, choice: str) -> list[str]:
        """Runs that read these prompts with other settings, oldest first; none where this choice has read them before."""
        rows = [row for row in self._rows() if row["content"] == content]
        return [] if any(row["choice"] == choice for row in rows) else [row["run"] for row in rows]

    def record(self, content: str, choice: str, run: str) -> int:
        """Note a read; returns how many different settings have read these prompts by now."""
        choices = {row["choice"] for row in self._rows() if row["content"] == content}
        if choice not in choices:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"content": content, "choice": choice, "run": run}) + "\n")
        return len(choices | {choice})

    def _rows(self) -> list[dict[str, Any]]:
        if not self.path.is_file():
            return []
        return [json.loads(line) for line in self.path.read_text(encoding="utf-8").splitlines()]
