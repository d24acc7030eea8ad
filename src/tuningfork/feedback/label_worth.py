"""What the labels of a run bought, as its stage `label_curve` measured it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from tuningfork.evals.learning_curve import Outlook, describe, outlook


@dataclass(frozen=True)
class Worth:
    """Held-out accuracy by number of labels, and what follows."""

    curve: list[tuple[float, float]]
    outlook: Outlook
    strategy: str

    @property
    def text(self) -> str:
        """In one line."""
        return describe(self.outlook)


def read_worth(run: Path) -> Worth | None:
    """The curve of a run's stage `label_curve`, in the order asked where it was measured; None where there is none."""
    found = sorted(run.glob("*/rounds.jsonl")) + sorted(run.glob("seed-*/*/rounds.jsonl"))
    if not found:
        return None
    rows = [json.loads(line) for line in found[0].read_text(encoding="utf-8").splitlines()]
    strategies = [row["strategy"] for row in rows]
    strategy = "as_asked" if "as_asked" in strategies else strategies[0]
    mine = [row for row in rows if row["strategy"] == strategy]
    labels = [row["labels"] for row in mine]
    more = labels[-1] - labels[-2] if len(labels) > 1 else labels[-1]
    roots = mine[0]["roots"]
    return Worth(
        [(float(row["labels"]), float(row["accuracy"])) for row in mine],
        outlook(labels, [row["hits"] for row in mine], roots, next_labels=more),
        strategy,
    )
