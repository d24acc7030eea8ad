"""The plot of a race as inline SVG: curves over KL that carry their names, and fitted laws as dashed lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from markupsafe import Markup, escape

from tuningfork.evals.numbers import MINUS
from tuningfork.report.charts import Points, nice_ticks
from tuningfork.report.untrusted import plain

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 760, 420, 44, 120, 10, 40
_LINE = 13.0


@dataclass(frozen=True)
class Line:
    """A named curve; `colour` is the number of a colour of the page."""

    name: str
    points: Points
    colour: int
    marks: Points = field(default_factory=tuple)
    """points that are drawn without a line"""
    is_dashed: bool = False


def plot(lines: Sequence[Line], title: str, x_label: str, y_label: str) -> Markup:
    """All lines in one picture, each with its name at its end; empty where there is nothing to draw."""
    points = [point for line in lines for point in (*line.points, *line.marks)]
    if not points:
        return Markup("")
    (left, right), (bottom, top) = _ends([x for x, _ in points]), _ends([y for _, y in points])

    def x(value: float) -> float:
        return round(_LEFT + (_WIDTH - _LEFT - _RIGHT) * (value - left) / (right - left), 1)

    def y(value: float) -> float:
        return round(_HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * (value - bottom) / (top - bottom), 1)

    parts = []
    for tick in nice_ticks(bottom, top):
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(tick)}" y2="{y(tick)}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y(tick) + 3.5:.1f}" text-anchor="end">{_number(tick)}</text>')
    for tick in nice_ticks(left, right):
        parts.append(f'<text x="{x(tick)}" y="{_HEIGHT - _BOTTOM + 16}" text-anchor="middle">{_number(tick)}</text>')
    parts.append(f'<text x="{_WIDTH - _RIGHT}" y="{_HEIGHT - 6}" text-anchor="end">{escape(x_label)}</text>')
    parts.append(f'<text x="{_LEFT + 6}" y="{_TOP + 9}">{escape(y_label)}</text>')
    for line in lines:
        dashes = ' stroke-dasharray="5 4"' if line.is_dashed else ""
        path = " ".join(f"{x(a)},{y(b)}" for a, b in line.points)
        if line.points:
            parts.append(f'<polyline class="curve s{line.colour}" points="{path}"{dashes}/>')
        marks = line.marks or (() if line.is_dashed else line.points)
        parts += [f'<circle class="mark s{line.colour}" cx="{x(a)}" cy="{y(b)}" r="2.2"/>' for a, b in marks]
    for line, place in zip(lines, _labels([y((line.points or line.marks)[-1][1]) for line in lines]), strict=True):
        end = (line.points or line.marks)[-1]
        parts.append(
            f'<line class="grid" x1="{x(end[0])}" x2="{_WIDTH - _RIGHT + 8}" y1="{y(end[1])}" y2="{place:.1f}"/>'
        )
        name = escape(plain(line.name))
        parts.append(f'<text class="s{line.colour}" x="{_WIDTH - _RIGHT + 11}" y="{place + 3.5:.1f}">{name}</text>')
    words = escape(plain(title))
    return Markup(
        f'<svg class="plot" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{words}">'
        f"<title>{words}</title>{''.join(parts)}</svg>"
    )


def _ends(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    ticks = nice_ticks(low, high)
    low, high = min(low, ticks[0]), max(high, ticks[-1])
    return (low, high) if high > low else (low - 1, high + 1)


def _labels(wanted: Sequence[float]) -> list[float]:
    """Heights of labels: near where they are wanted, none over another, all within the picture."""
    order = sorted(range(len(wanted)), key=wanted.__getitem__)
    placed, last = [0.0] * len(wanted), _TOP - _LINE
    for number in order:
        last = placed[number] = max(wanted[number], last + _LINE)
    limit = _HEIGHT - _BOTTOM + _LINE
    for number in reversed(order):
        limit = placed[number] = min(placed[number], limit - _LINE)
    return placed


def _number(value: float) -> str:
    return f"{value:g}".replace("-", MINUS)
