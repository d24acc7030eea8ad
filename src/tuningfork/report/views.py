"""From a run's files to what the page shows: which rows, which curves, in which order. No HTML except charts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from tuningfork.artifacts.metrics import METRICS, Metric, find_metric
from tuningfork.evals.numbers import figure, signed
from tuningfork.evals.summary import LedgerEntry, Regression, Summary
from tuningfork.report import race
from tuningfork.report.charts import line_chart
from tuningfork.report.folder import Row, RunFolder, Stage, StageRun, is_number

VISIBLE_SAMPLES, MAX_SAMPLES, MAX_REGRESSIONS = 8, 60, 20

TITLES = {"better": "Better", "worse": "Worse", "cannot_tell": "Cannot tell", "broken": "Broken"}


@dataclass(frozen=True)
class Headline:
    """The top of the page."""

    kind: str
    """the verdict, or `unfinished`"""
    title: str
    sentence: str
    reasons: Sequence[str]


def headline(run: RunFolder) -> Headline:
    """The verdict in plain words, or how far the run came."""
    summary = run.summary
    if summary is not None and summary.verdict is not None:
        _, _, rest = summary.verdict_text.partition(": ")
        sentence = rest or summary.verdict_text
        return Headline(
            summary.verdict, TITLES[summary.verdict], _capital(sentence), [_capital(r) for r in summary.reasons[1:]]
        )
    for stage in run.stages:
        for one in stage.runs:
            failed = next((gate for gate in one.gates if not gate.get("passed")), None)
            if failed:
                where = f"{stage.id}" + (f", seed {one.seed}" if one.seed is not None else "")
                sentence = f"The gate {failed.get('name')} of {where} failed: {failed.get('message')}."
                return Headline("broken", "Stopped", sentence, ["No stage after it was run, and nothing was compared"])
    if run.race is not None:
        return Headline("race", "A race", race.sentence(run.race) + ".", [])
    done = ", ".join(stage.id for stage in run.stages) or "nothing"
    return Headline("unfinished", "No verdict yet", f"The run has not been evaluated. Finished so far: {done}.", [])


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


@dataclass(frozen=True)
class Curve:
    """One small chart."""

    metric: Metric
    chart: Markup
    last: str


def curves(stage: Stage) -> list[Curve]:
    """Charts of the stage's metrics that the metrics list wants drawn, in its order; the only part of a score is the score."""
    order = list(METRICS)
    names = sorted(stage.metric_names, key=lambda name: _rank(name, order))
    parts = [name for name in names if name.startswith("score/")]
    found = []
    for name in names:
        metric = find_metric(name)
        if metric is None or not metric.is_charted or parts == [name]:
            continue
        series = [run.curve(name) for run in stage.runs]
        chart = line_chart(series, metric.label)
        if chart:
            found.append(Curve(metric, chart, _last(series)))
    return found


def _last(series: Sequence[Sequence[tuple[float, float]]]) -> str:
    """Where the curves end: one number, or the smallest and the largest."""
    ends = [points[-1][1] for points in series if points]
    low, high = figure(min(ends)), figure(max(ends))
    return low if low == high else f"{low} to {high}"


def _rank(name: str, order: list[str]) -> tuple[bool, int, str]:
    base = name.rpartition("/")[2]
    return "/" in name, order.index(base) if base in order else len(order), name


def metric_table(stage: Stage) -> list[dict[str, Any]]:
    """First, last, smallest and largest value of every metric, for the first seed."""
    rows = []
    for name in sorted(stage.metric_names):
        values = [value for _, value in stage.runs[0].curve(name)]
        if values:
            numbers = {"first": values[0], "last": values[-1], "smallest": min(values), "largest": max(values)}
            rows.append({"name": name, "metric": find_metric(name), **numbers})
    return rows


def figures(run: StageRun) -> list[tuple[str, str]]:
    """The stage's headline numbers as name and text; nested ones with their path."""
    return list(_flat("", run.manifest.get("figures") or {}))


def _flat(prefix: str, value: object) -> Iterable[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(f"{prefix} · {key}" if prefix else str(key).replace("_", " "), inner)
    elif isinstance(value, list) and all(is_number(item) for item in value):
        yield prefix, " to ".join(figure(item) for item in value) if len(value) == 2 else ", ".join(map(figure, value))
    elif value is None or isinstance(value, int | float):
        yield prefix, figure(value)
    else:
        yield prefix, str(value)


@dataclass(frozen=True)
class ProxyGold:
    """Curves over the distance from the start: what was optimised, and what is wanted."""

    stage: str
    curves: Sequence[Curve]


def proxy_and_gold(run: RunFolder) -> ProxyGold | None:
    """Proxy and gold against the root of KL, for the last stage that measured both while training."""
    for stage in reversed(run.stages):
        names = stage.metric_names
        gold = [name for name in names if name == "gold_mean" or name.startswith("gold/")]
        proxy = [name for name in ("monitor/score_mean", "score_mean") if name in names][:1]
        if not gold or not proxy:
            continue
        found = []
        for name in [*proxy, *gold[:2]]:
            metric = find_metric(name)
            series = [_against_kl(one, name) for one in stage.runs]
            chart = line_chart(series, name, "√KL")
            if metric is not None and chart:
                found.append(Curve(metric, chart, _last(series)))
        return ProxyGold(stage.id, found)
    return None


def _against_kl(run: StageRun, name: str) -> list[tuple[float, float]]:
    """(√KL, value) in order of √KL; a row without KL has that of the last row before it."""
    kl, points = 0.0, []
    for row in run.metrics:
        near = row.get("monitor/kl", row.get("kl", row.get("kl_bound")))
        kl = max(0.0, float(near)) if is_number(near) else kl
        if is_number(row.get(name)):
            points.append((kl**0.5, float(row[name])))
    return sorted(points)


@dataclass(frozen=True)
class Ledger:
    """Probes down, stages across."""

    stages: Sequence[str]
    rows: Sequence[tuple[str, str, Sequence[LedgerEntry | None], str, str]]
    """probe, good direction, entry for each stage, change from first to last, class of that change"""


def ledger(summary: Summary) -> Ledger | None:
    """The forgetting ledger as a table."""
    if not summary.ledger:
        return None
    stages = list(dict.fromkeys(entry.stage for entry in summary.ledger))
    rows = []
    for probe in dict.fromkeys(entry.probe for entry in summary.ledger):
        entries = {entry.stage: entry for entry in summary.ledger if entry.probe == probe}
        known = [entry for stage in stages if (entry := entries.get(stage)) and entry.value is not None]
        change, kind = "", ""
        direction = next(iter(entries.values())).direction
        if len(known) > 1 and known[0].value is not None and known[-1].value is not None:
            delta = known[-1].value - known[0].value
            change = signed(delta)
            is_loss = delta < 0 if direction == "higher" else delta > 0
            kind = "bad" if is_loss and abs(delta) > 0.05 * abs(known[0].value) else ""
        rows.append((probe.replace("_", " "), direction, [entries.get(stage) for stage in stages], change, kind))
    return Ledger(stages, rows)


def samples(run: RunFolder) -> list[Row]:
    """Rows of the evaluation with texts before and after, spread evenly over all of them, each prompt once."""
    if run.evaluation is None:
        return []
    rows: dict[str, Row] = {}
    for row in (row for one in run.evaluation.runs for row in one.samples):
        if all(isinstance(row.get(key), str) for key in ("prompt", "before", "after")):
            rows.setdefault(row["prompt"], row)
    unique = list(rows.values())
    count = min(MAX_SAMPLES, len(unique))
    chosen = [unique[index * len(unique) // count] for index in range(count)]
    # those on view are spread over all, the rest follow
    step = max(1, count // VISIBLE_SAMPLES)
    first = chosen[::step][:VISIBLE_SAMPLES]
    return first + [row for row in chosen if not any(row is one for one in first)]


def judgement(value: object, summary: Summary | None) -> str:
    """What the gold judge found in one answer: a number, or the measures by name, headline first, at most three."""
    if is_number(value):
        return figure(value)
    if not isinstance(value, Mapping):
        return ""
    titles = {m.name: m.title for role in ("headline", "guard", "info") for m in (summary.of(role) if summary else [])}
    order = list(titles)
    names = sorted(value, key=lambda name: order.index(name) if name in order else len(order))[:3]
    return ", ".join(f"{titles.get(name, name)} {figure(value[name])}" for name in names if is_number(value[name]))


def regressions(run: RunFolder) -> list[Regression]:
    """Prompts answered well before and not any more: from the summary."""
    return run.summary.regressions[:MAX_REGRESSIONS] if run.summary else []


@dataclass(frozen=True)
class Shown:
    """Several answers to one prompt, counted."""

    prompt: str
    before: Sequence[tuple[str, int]]
    after: Sequence[tuple[str, int]]


def shown(run: RunFolder, limit: int = 6) -> list[Shown]:
    """Prompts with many answers each: the commonest answers before and after, of the first seed."""
    if run.evaluation is None:
        return []
    counts: dict[str, tuple[Counter[str], Counter[str]]] = {}
    for row in run.evaluation.runs[0].shown:
        old, new = counts.setdefault(str(row.get("prompt", "")), (Counter(), Counter()))
        old[str(row.get("before", ""))] += 1
        new[str(row.get("after", ""))] += 1
    return [
        Shown(prompt, old.most_common(6), new.most_common(6)) for prompt, (old, new) in list(counts.items())[:limit]
    ]


def training_samples(run: StageRun, limit: int = 8) -> list[Row]:
    """Responses kept while training: the first and the last few."""
    rows = [row for row in run.samples if isinstance(row.get("response"), str)]
    return rows if len(rows) <= limit else rows[: limit // 2] + rows[-limit // 2 :]


def seconds(stage: Stage) -> float | None:
    """Mean time of the stage over its seeds."""
    values = [value for one in stage.runs if (value := one.number("seconds")) is not None]
    return sum(values) / len(values) if values else None


def peak_memory(stage: Stage) -> float | None:
    """Largest peak of the stage over its seeds, in MB."""
    values = [value for one in stage.runs if (value := one.number("peak_memory_mb"))]
    return max(values, default=None)
