"""Write the table of docs/parity.md from the golden values and this project's methods: `make parity`.

python tests/reference/parity/parity_table.py
"""

from __future__ import annotations

import sys
from pathlib import Path

import compare_pairs
import compare_policies
import torch
from comparing import TOLERANCE, Comparison, Measured, versions
from torch import Tensor

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "parity.md"
START, END = "<!-- table: make parity -->", "<!-- end of table -->"
COMPARISONS = [*compare_pairs.COMPARISONS, *compare_policies.COMPARISONS]
UNCOMPARED = {
    "a2c": "trl 1.16 has no actor-critic",
    "ppo": "trl 1.16 no longer has it",
    "reinforce": "trl 1.16 has it only as RLOO",
    "online_dpo": "the loss and its gradient are DPO's, which is compared",
}
"""Methods without a row, and why."""


def table() -> str:
    """All comparisons in Markdown."""
    head = "| method | trl | here | verdict | loss of trl | loss here | largest difference | of the largest number |"
    lines = [head, "|" + "---|" * 8]
    method = ""
    for comparison in COMPARISONS:
        method = comparison.method or method
        lines.append(_row(method if comparison.method else "", comparison, comparison.measure()))
    made = ", ".join(f"{name} {version}" for name, version in versions().items())
    return "\n".join([f"Golden values: {made}. Tolerance: {TOLERANCE:.0e} in both columns.", "", *lines])


def _row(method: str, comparison: Comparison, measured: Measured) -> str:
    verdict = comparison.verdict if not comparison.convention else f"**differs**: {comparison.convention}"
    cells = [
        method,
        comparison.trl,
        comparison.here or "as it is",
        verdict,
        _losses(measured.theirs),
        _losses(measured.own),
        _figure(measured.absolute),
        _figure(measured.relative),
    ]
    return "| " + " | ".join(cells) + " |"


def _losses(losses: Tensor) -> str:
    return ", ".join(f"{loss:.6f}" for loss in losses.tolist()) if len(losses) <= 2 else "by length"


def _figure(value: float) -> str:
    return f"{value:.0e}"


def unfinished(text: str) -> list[str]:
    """What docs/parity.md lacks: rows that it does not have with this verdict and these losses, and methods left out."""
    rows = [_row("", comparison, comparison.measure()).split(" | ") for comparison in COMPARISONS]
    known = [line.split(" | ") for line in text.splitlines()]
    lacking = [" | ".join(row) for row in rows if not any(line[1:5] == row[1:5] for line in known)]
    return lacking + [name for name, why in UNCOMPARED.items() if f"`{name}`: {why}" not in text]


def main() -> int:
    torch.set_num_threads(1)
    text = DOCUMENT.read_text(encoding="utf-8")
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    DOCUMENT.write_text(f"{before}{START}\n{table()}\n{END}{after}", encoding="utf-8")
    print(f"{len(COMPARISONS)} comparisons written to {DOCUMENT.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
