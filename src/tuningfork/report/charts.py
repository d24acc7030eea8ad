"""Small charts as inline SVG. Colours come from the page's CSS, so that one drawing serves light and dark."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup, escape

from tuningfork.evals.numbers import MINUS, figure, signed
from tuningfork.evals.summary import Limit, Measure
from tuningfork.report.untrusted import plain

Points = Sequence[tuple[float, float]]
MAX_POINTS = 160


def interval_chart(measure: Measure) -> Markup:
    """The change as a dot with its interval and the seeds as ticks; 0 is the centre line, better is to the right."""
    if measure.difference is None:
        return Markup("")
    sign = -1 if measure.direction == "lower" else 1
    low, high = measure.ci95 or (measure.difference, measure.difference)
    seeds = [seed.difference for seed in measure.per_seed if seed.difference is not None]
    reach = 1.1 * max(abs(value) for value in (low, high, measure.difference, *seeds)) or 1.0

    def x(value: float) -> float:
        return round(100 + 94 * sign * value / reach, 1)

    kind = {True: "good", False: "bad", None: "unsure"}[measure.better]
    parts = [
        '<line class="axis" x1="6" x2="194" y1="16" y2="16"/><line class="zero" x1="100" x2="100" y1="3" y2="29"/>'
    ]
    if len(seeds) > 1:
        parts += [f'<line class="seed {kind}" x1="{x(value)}" x2="{x(value)}" y1="26" y2="31"/>' for value in seeds]
    if measure.ci95:
        left, right = sorted((x(low), x(high)))
        parts.append(
            f'<rect class="interval {kind}" x="{left}" y="10" width="{max(1.0, right - left):.1f}" height="12" rx="2"/>'
        )
        parts += [f'<line class="cap {kind}" x1="{end}" x2="{end}" y1="9" y2="23"/>' for end in (left, right)]
    parts.append(f'<circle class="dot {kind}" cx="{x(measure.difference)}" cy="16" r="3.2"/>')
    words = f"{measure.title}: change {signed(measure.difference)}"
    words += f", 95 % interval {signed(low)} to {signed(high)}" if measure.ci95 else ", no interval"
    return _svg(200, 32, parts, words, "spark")


def limit_chart(measure: Measure) -> Markup:
    """The guarded value as a dot on a line; the forbidden part is shaded."""
    limit = measure.limit
    value = limit.value(measure.before, measure.after) if limit else None
    if limit is None or value is None:
        return Markup("")
    start, end = _limit_range(limit, value)

    def x(number: float) -> float:
        return round(6 + 188 * (number - start) / (end - start), 1)

    kind = "good" if measure.keeps_limit else "bad"
    parts = ['<line class="axis" x1="6" x2="194" y1="16" y2="16"/>']
    for bound, left, right in ((limit.minimum, start, limit.minimum), (limit.maximum, limit.maximum, end)):
        if bound is not None and left is not None and right is not None:
            width = max(0.0, x(right) - x(left))
            parts.append(f'<rect class="forbidden" x="{x(left)}" y="8" width="{width:.1f}" height="16" rx="2"/>')
            parts.append(f'<line class="bound" x1="{x(bound)}" x2="{x(bound)}" y1="5" y2="27"/>')
    parts.append(f'<circle class="dot {kind}" cx="{x(value)}" cy="16" r="4"/>')
    return _svg(200, 32, parts, f"{measure.title}: {figure(value)}, limit {limit}", "spark")


def _limit_range(limit: Limit, value: float) -> tuple[float, float]:
    """Ends of the axis: bounds and value inside, with room on the far side of each bound."""
    marks = [mark for mark in (limit.minimum, limit.maximum, value) if mark is not None]
    if limit.on == "ratio":
        marks.append(1.0)
    low, high = min(marks), max(marks)
    room = 0.35 * (high - low) or 0.1 * abs(high) or 0.1
    return low - room, high + room


def line_chart(series: Sequence[Points], title: str, x_label: str = "step") -> Markup:
    """Curves over a common x axis, one for each training seed; empty where nothing has two points."""
    drawn = [points for points in series if len(points) > 1]
    if not drawn:
        return Markup("")
    curves = [thin(points) for points in drawn]
    ys = [y for points in curves for _, y in points]
    ticks = nice_ticks(min(ys), max(ys))
    bottom, top = min(min(ys), ticks[0]), max(max(ys), ticks[-1])
    if bottom == top:  # a constant lies in the middle
        bottom, top = bottom - 1, top + 1
    left, right = min(points[0][0] for points in drawn), max(points[-1][0] for points in drawn)
    labels = [f"{tick:g}".replace("-", MINUS) for tick in ticks]
    margin = 10 + 6.2 * max(len(label) for label in labels)

    def x(value: float) -> float:
        return round(margin + (308 - margin) * (value - left) / ((right - left) or 1), 1)

    def y(value: float) -> float:
        return round(122 - 112 * (value - bottom) / ((top - bottom) or 1), 1)

    parts = []
    for tick, label in zip(ticks, labels, strict=True):
        parts.append(f'<line class="grid" x1="{margin:.0f}" x2="308" y1="{y(tick)}" y2="{y(tick)}"/>')
        parts.append(f'<text x="{margin - 6:.0f}" y="{y(tick) + 3.5:.1f}" text-anchor="end">{label}</text>')
    parts.append(f'<text x="{margin:.0f}" y="138">{figure(_whole(left))}</text>')
    parts.append(f'<text x="308" y="138" text-anchor="end">{escape(x_label)} {figure(_whole(right))}</text>')
    for index, points in enumerate(curves):
        path = " ".join(f"{x(a)},{y(b)}" for a, b in points)
        parts.append(f'<polyline class="curve s{index % 5}" points="{path}"/>')
        if len(points) <= 15:
            parts += [f'<circle class="mark s{index % 5}" cx="{x(a)}" cy="{y(b)}" r="2.2"/>' for a, b in points]
    ends = ", ".join(f"{figure(points[0][1])} to {figure(points[-1][1])}" for points in curves)
    return _svg(
        320, 144, parts, f"{title}: {ends} over {figure(_whole(left))} to {figure(_whole(right))} ({x_label})", "chart"
    )


def share_chart(value: float, ci95: tuple[float, float] | None, words: str, reference: float | None = None) -> Markup:
    """A share from 0 to 1 as a dot with its interval; `reference` is a line across."""

    def x(share: float) -> float:
        return round(6 + 188 * min(1.0, max(0.0, share)), 1)

    parts = ['<line class="axis" x1="6" x2="194" y1="12" y2="12"/>']
    if reference is not None:
        parts.append(f'<line class="bound" x1="{x(reference)}" x2="{x(reference)}" y1="2" y2="22"/>')
    if ci95 is not None:
        width = max(1.0, x(ci95[1]) - x(ci95[0]))
        parts.append(f'<rect class="interval unsure" x="{x(ci95[0])}" y="7" width="{width:.1f}" height="10" rx="2"/>')
    parts.append(f'<circle class="dot" cx="{x(value)}" cy="12" r="3.6"/>')
    between = f", 95 % interval {figure(ci95[0])} to {figure(ci95[1])}" if ci95 else ""
    return _svg(200, 24, parts, f"{words}: {figure(value)}{between}", "spark")


def share_bar(parts: Sequence[tuple[str, float]]) -> Markup:
    """How a total is made up, as one bar; widths below half a percent are not drawn."""
    total = sum(value for _, value in parts)
    if total <= 0:
        return Markup("")
    drawn, start = [], 0.0
    for index, (label, value) in enumerate(parts):
        width = 1000 * value / total
        if width >= 5:
            words = escape(plain(f"{label}: {100 * value / total:.0f} %"))
            place = f'x="{start + 1:.1f}" y="0" width="{width - 2:.1f}" height="18"'
            drawn.append(f'<rect class="share t{index % 6}" {place}><title>{words}</title></rect>')
        start += width
    words = "; ".join(f"{label} {100 * value / total:.0f} %" for label, value in parts)
    return _svg(1000, 18, drawn, f"Share of time: {words}", "bar", 'preserveAspectRatio="none"')


def thin(points: Points, limit: int = MAX_POINTS) -> list[tuple[float, float]]:
    """At most `limit` points, each the mean of a run of neighbours; the last point stays as it is."""
    if len(points) <= limit:
        return list(points)
    size = math.ceil(len(points) / (limit - 1))
    groups = [points[start : start + size] for start in range(0, len(points), size)]
    means = [(sum(x for x, _ in group) / len(group), sum(y for _, y in group) / len(group)) for group in groups]
    return means if len(groups[-1]) == 1 else [*means[:-1], points[-1]]


def nice_ticks(low: float, high: float) -> list[float]:
    """Two to four round numbers within or just around [low, high]."""
    if high - low <= 1e-12 * max(abs(low), abs(high), 1e-300):
        return [low]
    rough = (high - low) / 3
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * 0.999)
    first, last = math.floor(low / step + 0.5), math.ceil(high / step - 0.5)
    return [round(index * step, 12) for index in range(first, last + 1)]


def _whole(value: float) -> float | int:
    return int(value) if value == int(value) else value


def _svg(width: int, height: int, parts: Sequence[str], title: str, kind: str, extra: str = "") -> Markup:
    words = escape(plain(title))
    return Markup(
        f'<svg class="{kind}" viewBox="0 0 {width} {height}" role="img" aria-label="{words}" {extra}>'
        f"<title>{words}</title>{''.join(parts)}</svg>"
    )
