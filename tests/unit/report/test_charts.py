"""Charts: geometry that a reader relies on, and words for who cannot see them."""

import re
import xml.etree.ElementTree as ET
from itertools import pairwise
from typing import Any

import pytest

from tuningfork.evals.summary import Direction, Limit, Measure, SeedValue
from tuningfork.report import charts


def attribute(svg: str, element: str, name: str) -> list[float]:
    return [
        float(node.attrib[name])
        for node in ET.fromstring(svg).iter()
        if element in node.attrib.get("class", "").split()
    ]


def change(difference: float, direction: Direction = "higher", **more: Any) -> Measure:
    fields = {"ci95": (difference - 0.05, difference + 0.1), "better": None} | more
    return Measure(
        name="a<b",
        role="info",
        direction=direction,
        before=0.5,
        after=0.5 + difference,
        difference=difference,
        **fields,
    )


def test_better_is_to_the_right_whichever_direction_is_good():
    zero = attribute(charts.interval_chart(change(0.3)), "zero", "x1")[0]
    assert attribute(charts.interval_chart(change(0.3)), "dot", "cx")[0] > zero
    assert attribute(charts.interval_chart(change(-0.3)), "dot", "cx")[0] < zero
    assert attribute(charts.interval_chart(change(-0.3, "lower")), "dot", "cx")[0] > zero


def test_interval_and_seeds_are_drawn_to_one_scale():
    seeds = [SeedValue(seed=s, before=0.5, after=0.5 + d, difference=d) for s, d in enumerate((0.1, 0.3))]
    svg = charts.interval_chart(change(0.2, per_seed=seeds))
    zero, dot = attribute(svg, "zero", "x1")[0], attribute(svg, "dot", "cx")[0]
    unit = (dot - zero) / 0.2
    left, width = attribute(svg, "interval", "x")[0], attribute(svg, "interval", "width")[0]
    assert (left - zero) / unit == pytest.approx(0.15, abs=0.002) and width / unit == pytest.approx(0.15, abs=0.002)
    assert [(x - zero) / unit for x in attribute(svg, "seed", "x1")] == pytest.approx([0.1, 0.3], abs=0.002)


def test_limits_are_shaded_on_the_forbidden_side():
    fields = {"name": "g", "role": "guard", "direction": "higher", "before": 10.0}
    svg = charts.limit_chart(Measure(**fields, after=13.0, limit=Limit(on="ratio", minimum=0.8, maximum=1.2)))
    (low, high), (dot,) = attribute(svg, "bound", "x1"), attribute(svg, "dot", "cx")
    assert low < high < dot and "bad" in svg
    starts, widths = attribute(svg, "forbidden", "x"), attribute(svg, "forbidden", "width")
    assert starts[0] + widths[0] == pytest.approx(low, abs=0.2) and starts[1] == pytest.approx(high, abs=0.2)
    assert charts.limit_chart(Measure(**fields, after=None, limit=Limit(minimum=0.8))) == ""


def test_curves_go_up_when_values_do_and_stay_inside():
    svg = charts.line_chart([[(step, step**2) for step in range(50)]], "loss <x>")
    points = [tuple(map(float, pair.split(","))) for pair in re.findall(r'points="([^"]+)"', svg)[0].split()]
    assert all(a[0] < b[0] and a[1] >= b[1] for a, b in pairwise(points))
    assert all(0 <= x <= 320 and 0 <= y <= 144 for x, y in points)
    assert "&lt;x&gt;" in svg and ET.fromstring(svg).attrib["role"] == "img"


def test_nothing_to_draw_is_nothing():
    assert charts.line_chart([[(1, 2.0)], []], "x") == "" and charts.share_bar([("a", 0.0)]) == ""
    assert ET.fromstring(charts.line_chart([[(1, 2.0), (2, 2.0)]], "constant")) is not None


def test_long_curves_are_thinned_and_keep_mean_and_end():
    points = [(float(i), float(i % 7)) for i in range(100_000)]
    thinned = charts.thin(points)
    assert len(thinned) <= charts.MAX_POINTS and thinned[-1] == points[-1]
    assert sum(y for _, y in thinned) / len(thinned) == pytest.approx(3.0, abs=0.05)
    assert charts.thin(points[:10]) == points[:10]


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-0.004, 0.013), (2.31, 6.9), (0.0001, 40_000), (5, 5.0001)])
def test_ticks_are_few_round_and_around_the_data(low, high):
    ticks = charts.nice_ticks(low, high)
    assert 2 <= len(ticks) <= 5
    step = ticks[1] - ticks[0]
    assert ticks[0] <= low + step / 2 and ticks[-1] >= high - step / 2
    assert all(
        abs(tick) < 1e-12 or len(f"{tick:.6g}".lstrip("-0.").replace(".", "").rstrip("0")) <= 6 for tick in ticks
    )


def test_share_bar_is_to_scale():
    svg = charts.share_bar([("a", 3.0), ("b", 1.0), ("tiny", 0.001)])
    assert attribute(svg, "share", "width") == pytest.approx([748, 248], abs=1)
