"""A reward model's card as the page shows it: what it says, tables, plots. What is not of the expected kind is left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from tuningfork.evals.numbers import figure, signed
from tuningfork.report.folder import Row, RunFolder, StageRun, is_number
from tuningfork.report.plots import point_chart, reliability_chart, share_chart

_MOST_SENTENCES = 20


@dataclass(frozen=True)
class Plot:
    """One small chart with its caption."""

    title: str
    note: str
    chart: Markup


@dataclass(frozen=True)
class RewardCard:
    """The card of one reward model."""

    stage: str
    is_usable: bool
    sentences: Sequence[str]
    plots: Sequence[Plot]
    rewrites: Sequence[Sequence[str]]
    """name, what the score should do, shift, share that rises, right orders turned"""
    probes: Sequence[tuple[str, str]]


def reward_cards(run: RunFolder) -> list[RewardCard]:
    """The cards of a run's reward models, of the first seed each."""
    found = (_card(stage.id, stage.runs[0]) for stage in run.stages if stage.runs)
    return [card for card in found if card is not None]


def _card(stage: str, run: StageRun) -> RewardCard | None:
    card = run.reward_card
    verdict = _row(card, "verdict")
    sentences = [str(sentence) for sentence in _rows(verdict, "sentences", str)][:_MOST_SENTENCES]
    if not sentences:
        return None
    plots = [
        plot for plot in (*_accuracy_plots(card), _baselines(card), _reliability(card), _relation(card)) if plot.chart
    ]
    rewrites = [
        [str(row.get("name", "")), str(row.get("wanted", "")), *(signed(_number(row, "shift")),),
         figure(_number(row, "rises")), figure(_number(row, "flips"))]
        for row in _rows(card, "sensitivity")
    ]  # fmt: skip
    probes = [
        (str(name), figure(_number(found, "beats")))
        for name, found in _row(card, "probes").items()
        if isinstance(found, dict)
    ]
    return RewardCard(stage, verdict.get("usable") is True, sentences, plots, rewrites, probes)


def _accuracy_plots(card: Row) -> list[Plot]:
    accuracy = _row(card, "accuracy")
    titles = {
        "by_strength": ("By how much better it was found", "right"),
        "by_length": ("By how much longer the better one is", "right"),
        "by_source": ("By source", "right"),
    }
    return [
        Plot(title, note, share_chart(_shares(accuracy, key), title))
        for key, (title, note) in titles.items()
        if len(_shares(accuracy, key)) > 1
    ]


def _baselines(card: Row) -> Plot:
    rows = _shares(card, "baselines")
    accuracy = _row(card, "accuracy")
    if is_number(accuracy.get("share")):
        rows.insert(0, ("the reward model", float(accuracy["share"]), _interval(accuracy.get("ci95"))))
    return Plot("Against rules and other models", "right", share_chart(rows, "Accuracy of baselines"))


def _reliability(card: Row) -> Plot:
    found = _row(card, "calibration")
    chosen = _row(found, "raw") or _row(found, "fitted")
    bins = [
        (float(row["confidence"]), float(row["frequency"]), int(row["count"]))
        for row in _rows(chosen, "bins")
        if all(is_number(row.get(name)) for name in ("confidence", "frequency", "count"))
    ]
    note = "as trained" if _row(found, "raw") else "over the fitted temperature"
    return Plot("How often its probability comes true", note, reliability_chart(bins, "Reliability"))


def _relation(card: Row) -> Plot:
    found = _row(card, "relation")
    points = [
        (float(point[0]), float(point[1]))
        for point in _rows(found, "points", list)
        if len(point) == 2 and all(is_number(value) for value in point)
    ]
    note = f"rank correlation {figure(_number(found, 'spearman'))}"
    chart = point_chart(points, "Score", str(found.get("kind", "rating")))
    return Plot("Score and how people rated", note, chart)


def _shares(holder: Row, name: str) -> list[tuple[str, float, tuple[float, float] | None]]:
    rows = [row for row in _rows(holder, name) if is_number(row.get("share"))]
    return [(str(row.get("name", "")), float(row["share"]), _interval(row.get("ci95"))) for row in rows]


def _interval(value: Any) -> tuple[float, float] | None:
    is_two = isinstance(value, list) and len(value) == 2 and all(is_number(end) for end in value)
    return (float(value[0]), float(value[1])) if is_two else None


def _row(holder: Row, name: str) -> Row:
    value = holder.get(name)
    return value if isinstance(value, dict) else {}


def _rows(holder: Row, name: str, kind: type = dict) -> list[Any]:
    value = holder.get(name)
    return [item for item in value if isinstance(item, kind)] if isinstance(value, list) else []


def _number(holder: Row, name: str) -> float | None:
    value = holder.get(name)
    return float(value) if is_number(value) else None
