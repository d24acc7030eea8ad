"""Write the tables of docs/methods.md from the methods' own files: `make docs`. What stands outside the markers is kept.

python docs/generate.py          write
python docs/generate.py --check  exit code 1 where the file is out of date
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from tuningfork import catalogue
from tuningfork.catalogue import Entry
from tuningfork.document import render_scalar

METHODS = Path(__file__).parent / "methods.md"
HEADS = {
    "policy": {"loss": "loss of a token or response", "average": "average"},
    "preference": {"loss": "loss"},
    "selection": {"loss": "what is kept"},
}
_BLOCK = re.compile(r"(<!-- generated: (\w+) (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def generated(template: str) -> str:
    """The template with what stands between its markers made anew."""
    makers = {"table": table, "settings": settings_table}
    entries = [entry for entry in catalogue.entries() if entry.file.startswith("src/")]

    def block(match: re.Match[str]) -> str:
        family = [entry for entry in entries if entry.family == match[3]]
        return "\n".join([match[1].rstrip("\n"), *makers[match[2]](family), match[4]])

    return _BLOCK.sub(block, template)


def table(entries: list[Entry]) -> list[str]:
    """A row for each method of a family."""
    first = entries[0]
    names = [HEADS[first.family].get(name, name) for name in first.cells]
    needs = [] if first.family == "selection" else ["needs"]
    lines = _head(["method", "paper", *names, *needs])
    for entry in entries:
        paper = ", ".join(catalogue.linked(paper) for paper in entry.papers)
        cells = [
            f"[{entry.title}](../{entry.file})",
            paper,
            *entry.cells.values(),
            *([entry.needs or "nothing"] if needs else []),
        ]
        lines.append(_row(cells))
    return lines


def settings_table(entries: list[Entry]) -> list[str]:
    """A row for each setting of each method of a family."""
    lines = _head(["method", "setting", "default", "where the default is from"])
    for entry in entries:
        for setting in entry.settings:
            source = catalogue.linked(setting.source)
            lines.append(_row([f"`{entry.name}`", f"`{setting.name}`", f"`{render_scalar(setting.default)}`", source]))
    return lines


def _head(names: list[str]) -> list[str]:
    return [_row(names), "|" + "---|" * len(names)]


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def main(arguments: list[str]) -> int:
    """Write or check docs/methods.md; returns the exit code."""
    old = METHODS.read_text(encoding="utf-8")
    new = generated(old)
    if "--check" in arguments:
        return int(new != old)
    METHODS.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
