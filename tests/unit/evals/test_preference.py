"""Figures of held-out preferences by hand, and the verdict that each planted fault gets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tuningfork.evals.preference import Measured, PreferenceFigures, measure, verdict


def figures(**changes: Any) -> PreferenceFigures:
    plain = PreferenceFigures(
        accuracy=0.9,
        accuracy_ci95=(0.8, 0.95),
        comparisons=100,
        margin=3.0,
        chosen_shift=1.0,
        chosen_shift_ci95=(0.5, 1.5),
        chosen_shift_a_token=0.1,
        rejected_shift=-2.0,
        chosen_length=10.0,
        rejected_length=9.0,
        accuracy_where_shorter=0.85,
        shorter_ci95=(0.7, 0.92),
        answer_length_before=10.0,
        answer_length_after=10.5,
    )
    return replace(plain, **changes)


def measured(*shifts: float, lengths: tuple[int, ...] = ()) -> list[Measured]:
    lengths = lengths or (2,) * len(shifts)
    return [
        Measured(-5.0, -5.0 + s, length, f"root {n}") for n, (s, length) in enumerate(zip(shifts, lengths, strict=True))
    ]


def test_worked_example() -> None:
    # differences 1 - 0, 2 - 2, -1 - 1, 4 - 1: right, tie, wrong, right: 2.5 / 4; means 1.5 and 1
    found = measure(
        measured(1, 2, -1, 4, lengths=(3, 5, 2, 2)),
        measured(0, 2, 1, 1, lengths=(2, 5, 4, 3)),
        is_paired=True,
        answers_before=[4, 6],
        answers_after=[7, 8],
        seed=0,
    )
    assert (found.accuracy, found.comparisons) == (0.625, 4)
    assert (found.margin, found.chosen_shift, found.rejected_shift) == (0.5, 1.5, 1.0)
    assert found.chosen_shift_a_token == 6 / 12
    assert (found.chosen_length, found.rejected_length, found.length_gap) == (3.0, 3.5, -0.5)
    assert found.accuracy_where_shorter == 0.5, "the third and the fourth pair"
    assert (found.answer_length_before, found.answer_length_after) == (5.0, 7.5)
    low, high = found.accuracy_ci95
    assert 0 < low < 0.625 < high < 1 and found.chosen_shift_ci95[0] <= 1.5 <= found.chosen_shift_ci95[1]


def test_unpaired_ones_are_compared_each_with_each() -> None:
    # good 1, 3; bad 0, 2, 3: 1 > 0, 3 > 0, 3 > 2, 3 = 3: 3.5 of 6; two responses of the rarer kind
    found = measure(measured(1, 3), measured(0, 2, 3), is_paired=False, answers_before=[1], answers_after=[1], seed=0)
    assert found.accuracy == pytest.approx(3.5 / 6) and found.comparisons == 2
    assert found.accuracy_where_shorter is None and found.shorter_ci95 is None


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({}, "normal"),
        ({"chosen_shift": -0.4, "chosen_shift_ci95": (-0.6, -0.2), "chosen_shift_a_token": -0.04}, "normal"),
        ({"chosen_shift": -4.0, "chosen_shift_ci95": (-9.0, 0.1), "chosen_shift_a_token": -0.4}, "normal"),
        (
            {"chosen_shift": -4.0, "chosen_shift_ci95": (-5.0, -3.0), "chosen_shift_a_token": -0.4},
            "likelihood displacement",
        ),
        ({"answer_length_after": 12.1}, "length exploitation"),
        ({"answer_length_after": 11.9}, "normal"),
        ({"answer_length_after": 8.2}, "length exploitation"),
        ({"answer_length_after": 20.0, "chosen_length": 19.0}, "normal"),
        ({"shorter_ci95": (0.1, 0.45), "accuracy_where_shorter": 0.2}, "length exploitation"),
        ({"shorter_ci95": None, "accuracy_where_shorter": None}, "normal"),
        ({"accuracy": 0.55, "accuracy_ci95": (0.45, 0.65), "answer_length_after": 30.0}, "nothing learned"),
        ({"accuracy": 1.0, "accuracy_ci95": (0.44, 1.0)}, "too few to tell"),
        ({"accuracy": 0.0, "accuracy_ci95": (0.0, 0.79)}, "too few to tell"),
    ],
)
def test_planted_faults(changes: dict[str, Any], kind: str) -> None:
    found, text = verdict(figures(**changes))
    assert found == kind and text.startswith(f"{kind}: ")


def test_the_line_explains_and_says_what_to_change() -> None:
    _, text = verdict(figures(chosen_shift=-4.0, chosen_shift_ci95=(-5.0, -3.0), chosen_shift_a_token=-0.4))
    for part in (
        "100 held-out",
        "margin +3",
        "chosen responses −4",
        "rejected ones −2",
        "+1",
        "from 10",
        "10.5 tokens",
    ):
        assert part in text, text
    assert "nll_coefficient" in text and "learning rate" in text
    _, text = verdict(figures(answer_length_after=20.0))
    assert "simpo" in text
