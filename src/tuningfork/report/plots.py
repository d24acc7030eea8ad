"""Plots of a reward model's card as inline SVG: shares with intervals, points, a reliability curve. Colours are the page's."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup, escape

from tuningfork.evals.numbers import MINUS, figure
from tuningfork.report.charts import nice_ticks
from tuningfork.report.untrusted import plain

_LEFT, _RIGHT, _TOP, _BOTTOM = 46.0, 308.0, 10.0, 130.0


def share_chart(
    shares: Sequence[tuple[str, float, tuple[float, float] | None]], title: str, line: float = 0.5
) -> Markup:
    """Shares by name as dots with their intervals on one scale; a line where nothing is known. Empty for no share."""
    if not shares:
        return Markup("")
    ends = [end for _, share, ci95 in shares for end in (share, *(ci95 or ()))]
    low, high = min([*ends, line]) - 0.02, max([*ends, line]) + 0.02
    height = 20 * len(shares) + 22

    def x(value: float) -> float:
        return round(128 + 180 * (value - low) / (high - low), 1)

    parts = [f'<line class="zero" x1="{x(line)}" x2="{x(line)}" y1="2" y2="{height - 18}"/>']
    for row, (name, share, ci95) in enumerate(shares):
        y = 20 * row + 12
        kind = "unsure" if ci95 is None or ci95[0] <= line <= ci95[1] else "good" if share > line else "bad"
        parts.append(f'<text x="0" y="{y + 4}">{escape(_short(name))}</text>')
        if ci95:
            width = max(1.0, x(ci95[1]) - x(ci95[0]))
            parts.append(
                f'<rect class="interval {kind}" x="{x(ci95[0])}" y="{y - 5}" width="{width:.1f}" height="10" rx="2"/>'
            )
        parts.append(
            f'<circle class="dot {kind}" cx="{x(share)}" cy="{y}" r="3.4"><title>{figure(share)}</title></circle>'
        )
    parts += [
        f'<text x="{x(value)}" y="{height - 5}" text-anchor="middle">{figure(value)}</text>'
        for value in sorted({round(low + 0.02, 2), line, round(high - 0.02, 2)})
    ]
    words = "; ".join(f"{name} {figure(share)}" for name, share, _ in shares)
    return _svg(height, parts, f"{title}: {words}")


def reliability_chart(bins: Sequence[tuple[float, float, int]], title: str) -> Markup:
    """(confidence, frequency, count) of each bin from 1/2 to 1, against the diagonal; larger dots hold more."""
    if not bins:
        return Markup("")
    lowest = min(0.5, *(frequency for _, frequency, _ in bins)) if bins else 0.5
    x, y = _scale(0.5, 1.0, _LEFT, _RIGHT), _scale(lowest, 1.0, _BOTTOM, _TOP)
    most = max(count for _, _, count in bins)
    parts = _axes([0.5, 0.75, 1.0], nice_ticks(lowest, 1.0), x, y, "probability it gives", "")
    parts.append(f'<line class="zero" x1="{x(0.5)}" y1="{y(0.5)}" x2="{x(1.0)}" y2="{y(1.0)}"/>')
    path = " ".join(f"{x(confidence)},{y(frequency)}" for confidence, frequency, _ in bins)
    parts.append(f'<polyline class="curve s0" points="{path}"/>')
    parts += [
        f'<circle class="mark s0" cx="{x(confidence)}" cy="{y(frequency)}" r="{1.8 + 3.2 * (count / most) ** 0.5:.1f}"/>'
        for confidence, frequency, count in bins
    ]
    words = ", ".join(f"{figure(confidence)} comes true in {figure(frequency)}" for confidence, frequency, _ in bins)
    return _svg(150, parts, f"{title}: {words}")


def point_chart(points: Sequence[tuple[float, float]], title: str, x_label: str) -> Markup:
    """A dot for each (x, y); empty with fewer than two."""
    if len(points) < 2:
        return Markup("")
    xs, ys = [a for a, _ in points], [b for _, b in points]
    x_ticks, y_ticks = nice_ticks(min(xs), max(xs)), nice_ticks(min(ys), max(ys))
    x = _scale(min(*xs, x_ticks[0]), max(*xs, x_ticks[-1]), _LEFT + 4, _RIGHT - 4)
    y = _scale(min(*ys, y_ticks[0]), max(*ys, y_ticks[-1]), _BOTTOM, _TOP)
    parts = _axes(x_ticks, y_ticks, x, y, x_label, "")
    parts += [f'<circle class="mark s0 faint" cx="{x(a)}" cy="{y(b)}" r="2"/>' for a, b in points]
    return _svg(150, parts, f"{title}: {len(points)} answers")


def _scale(low: float, high: float, start: float, end: float):
    """A function from values to pixels."""
    span = (high - low) or 1.0
    return lambda value: round(start + (end - start) * (value - low) / span, 1)


def _axes(x_ticks: Sequence[float], y_ticks: Sequence[float], x, y, x_label: str, unit: str) -> list[str]:
    parts = []
    for tick in y_ticks:
        label = f"{tick:g}{unit}".replace("-", MINUS)
        parts.append(f'<line class="grid" x1="{_LEFT:.0f}" x2="{_RIGHT:.0f}" y1="{y(tick)}" y2="{y(tick)}"/>')
        parts.append(f'<text x="{_LEFT - 6:.0f}" y="{y(tick) + 3.5:.1f}" text-anchor="end">{label}</text>')
    for number, tick in enumerate(x_ticks):
        is_last = number == len(x_ticks) - 1
        label = f"{tick:g}".replace("-", MINUS)
        words = f"{escape(plain(x_label))} {label}" if is_last else label
        anchor = "end" if is_last else "middle"
        parts.append(f'<text x="{x(tick)}" y="146" text-anchor="{anchor}">{words}</text>')
    return parts


def _short(name: str, most: int = 22) -> str:
    shown = plain(name)
    return shown if len(shown) <= most else f"{shown[: most - 1]}…"


def _svg(height: int, parts: Sequence[str], title: str) -> Markup:
    words = escape(plain(title))
    return Markup(
        f'<svg class="chart" viewBox="0 0 320 {height}" role="img" aria-label="{words}">'
        f"<title>{words}</title>{''.join(parts)}</svg>"
    )
