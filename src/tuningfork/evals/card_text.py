"""A reward model's card as Markdown. No torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tuningfork.evals.numbers import MISSING, figure, signed


def card_markdown(card: dict[str, Any]) -> str:
    """The findings as sentences, then the tables behind them."""
    return "\n".join(_lines(card)) + "\n"


def _lines(card: dict[str, Any]) -> Iterator[str]:
    yield "## The reward model's card"
    yield ""
    yield from (f"- {sentence}" for sentence in card["verdict"]["sentences"])
    yield from _accuracies(card["accuracy"])
    yield from _baselines(card["baselines"])
    yield from _calibration(card["calibration"])
    yield from _rewrites(card["sensitivity"])
    yield from _probes(card["probes"])
    if card["disagreement"]:
        yield from _slice_table("accuracy by the members' disagreement", card["disagreement"]["by_disagreement"])


def _accuracies(found: dict[str, Any]) -> Iterator[str]:
    titles = {
        "by_strength": "accuracy by how much better the answer was found",
        "by_length": "accuracy by how much longer the better answer is",
        "by_source": "accuracy by source",
    }
    for key, title in titles.items():
        if len(found[key]) > 1:
            yield from _slice_table(title, found[key])


def _slice_table(title: str, rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    yield from ("", f"| {title} | right | 95 % interval | comparisons |", "|---|---|---|---|")
    for row in rows:
        yield f"| {_cell(row['name'])} | {figure(row['share'])} | {_interval(row['ci95'])} | {row['n']:,} |"


def _baselines(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    yield from ("", "| baseline | right | the reward model is right more often by | p |", "|---|---|---|---|")
    for row in rows:
        gain = row["gain"]
        by = signed(gain["difference"]) + (
            f" [{signed(gain['ci95'][0])}, {signed(gain['ci95'][1])}]" if gain["ci95"] else ""
        )
        yield f"| {_cell(row['name'])} | {figure(row['share'])} | {by} | {gain['p']:.4f} |"


def _calibration(found: dict[str, Any]) -> Iterator[str]:
    rows = [("as trained", found["raw"]), (f"over the temperature {figure(found['temperature'])}", found["fitted"])]
    rows = [(name, one) for name, one in rows if one]
    if rows:
        yield from ("", "| calibration | error (ECE) | Brier | log-loss, nats |", "|---|---|---|---|")
        for name, one in rows:
            yield f"| {name} | {figure(one['ece'])} | {figure(one['brier'])} | {figure(one['log_loss'])} |"


def _rewrites(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    if rows:
        yield from (
            "",
            "| answer rewritten | should | shift, deviations | rises | right orders turned | answers |",
            "|---|---|---|---|---|---|",
        )
    for row in rows:
        yield (
            f"| {row['name']} | {row['wanted']} | {signed(row['shift'])} | {figure(row['rises'])} | {figure(row['flips'])} | "
            f"{row['n']:,} |"
        )


def _probes(found: dict[str, Any]) -> Iterator[str]:
    if found:
        yield from ("", "| answer nobody wants | scores above the median good answer |", "|---|---|")
    for name, one in found.items():
        yield f"| {name} | {figure(one['beats'])} of {one['n']:,} prompts |"


def _interval(ci95: Sequence[float] | None) -> str:
    return f"{figure(ci95[0])} to {figure(ci95[1])}" if ci95 else MISSING


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
