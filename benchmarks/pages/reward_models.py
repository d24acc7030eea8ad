"""Result `reward-models`: a card for each of six kinds of real feedback, and the same feedback learnt in several ways."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from layout.markdown import reading, table
from layout.run import Run

RECIPE = "reward-models-local"
OVERRIDES: list[str] = ["data=../shared/data"]
VARIANTS = "reward-variants"
"""Folder, beside that of the run, of `tuningfork run reward-variants-local`; its tables are left out where it is not there."""


def page(run: Run) -> str:
    """The verdicts as a table, every card in full, and the variants."""
    cards = _cards(run.folder)
    lines = [
        f"# {run.name}",
        "",
        f"`{run.command}`",
        "",
        *reading(run),
        "## Six kinds of feedback",
        "",
        *_overview(cards),
        "",
    ]
    base = _figures(run.folder, "pretrain")
    lines += [f"The base has {base['bits_per_byte']:.3f} bits a byte on held-out text of its own mixture.", ""]
    variants = run.folder.parent / VARIANTS
    if variants.is_dir():
        lines += [
            "## The same feedback learnt in several ways",
            "",
            "`tuningfork run reward-variants-local data=../shared/data`",
            "",
        ]
        lines += [*_overview(_cards(variants), is_short=True), "", *_shared(_cards(variants)), ""]
    for name, card in cards.items():
        lines += [
            f"## {name}",
            "",
            *(f"- {sentence}" for sentence in card["verdict"]["sentences"]),
            *_tables(run.folder, name),
            "",
        ]
    return "\n".join(lines)


def _overview(cards: dict[str, dict[str, Any]], *, is_short: bool = False) -> list[str]:
    """One row a reward model: right, against length and words, relation, calibration, verdict."""
    columns = [
        "reward model",
        "right, 95 % interval",
        "n",
        "length rule",
        "more right by",
        "rank correlation",
        "with length",
        "ECE",
    ]
    columns += [] if is_short else ["words", "likelihood", "usable"]
    rows = []
    for name, card in cards.items():
        found, baselines = card["accuracy"], {row["name"]: row for row in card["baselines"]}
        rule = next(row for label, row in baselines.items() if label.endswith(" wins"))
        ci95, gained = found["ci95_roots"] or found["ci95"], rule["gain"]
        by = f"{gained['difference']:+.3f}" + (
            f" [{gained['ci95'][0]:+.3f}, {gained['ci95'][1]:+.3f}]" if gained["ci95"] else ""
        )
        length = card["length"]["within"] if card["length"]["within"] is not None else card["length"]["over_all"]
        calibration = card["calibration"]["raw"] or card["calibration"]["fitted"]
        cells = [name, f"{found['share']:.3f} [{ci95[0]:.3f}, {ci95[1]:.3f}]", f"{found['n']:,}"]
        cells += [
            f"{rule['share']:.3f} ({rule['name'].split()[0]})",
            by,
            _number(card["relation"]["spearman"]),
            _number(length),
        ]
        cells.append(_number(calibration["ece"] if calibration else None))
        if not is_short:
            cells += [_number(baselines.get(key, {}).get("share")) for key in ("words (TF-IDF)", "likelihood")]
            cells.append("yes" if card["verdict"]["usable"] else "no")
        rows.append(cells)
    return table(columns, rows)


def _shared(cards: dict[str, dict[str, Any]]) -> list[str]:
    """What the cards say of the same comparisons by another reward model."""
    said = {name: [s for s in card["verdict"]["sentences"] if s.startswith("Against ")] for name, card in cards.items()}
    return [f"- {name}: {sentence}" for name, sentences in said.items() for sentence in sentences]


def _tables(folder: Path, stage: str) -> list[str]:
    """The tables of a card's text, without its heading and sentences."""
    lines = (_stage(folder, stage) / "findings.md").read_text(encoding="utf-8").splitlines()
    return ["", *lines[next((n for n, line in enumerate(lines) if line.startswith("|")), len(lines)) :]]


def _cards(folder: Path) -> dict[str, dict[str, Any]]:
    """Cards by stage, in the order of the recipe."""
    places = sorted(folder.glob("*/card.json"), key=lambda path: int(path.parent.name.partition("-")[0]))
    return {place.parent.name.partition("-")[2]: json.loads(place.read_text(encoding="utf-8")) for place in places}


def _figures(folder: Path, stage: str) -> dict[str, Any]:
    return json.loads((_stage(folder, stage) / "manifest.json").read_text(encoding="utf-8"))["figures"]


def _stage(folder: Path, name: str) -> Path:
    return next(path for path in folder.iterdir() if path.is_dir() and path.name.partition("-")[2] == name)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
