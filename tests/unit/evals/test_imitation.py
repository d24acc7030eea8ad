"""Style and facts apart: planted students get the verdict they deserve."""

from __future__ import annotations

import numpy as np
import pytest

from tuningfork.evals.gold import Answer
from tuningfork.evals.imitation import Finding, Side, Values, compare, format_of, preferences, style_values, verdict

ROOTS = [f"r{number // 2}" for number in range(60)]


def shares(share: float, number: int = 0) -> list[float]:
    return list((np.random.Generator(np.random.Philox(number)).random(60) < share).astype(float))


def findings(style: float, inside: float, outside: float) -> list[Finding]:
    sides: tuple[tuple[Side, float], ...] = (("inside", inside), ("outside", outside))
    found = []
    for side, facts in sides:
        found.append(compare("facts", side, Values(shares(0.1), shares(facts, 1), shares(0.95, 2)), ROOTS, 0))
        found.append(compare("format", side, Values(shares(0.1), shares(style, 3), shares(0.9, 4)), ROOTS, 0))
        found.append(compare("length", side, Values([4.0] * 60, [4.0] * 60, [1.0] * 60), ROOTS, 0))
    return found


@pytest.mark.parametrize(
    ("style", "inside", "outside", "kind"),
    [
        (0.9, 0.9, 0.9, "style and facts"),
        (0.9, 0.9, 0.1, "facts only where imitated"),
        (0.9, 0.1, 0.1, "style without facts"),
        (0.1, 0.9, 0.9, "facts without style"),
        (0.1, 0.1, 0.1, "nothing imitated"),
    ],
)
def test_planted_students(style: float, inside: float, outside: float, kind: str) -> None:
    found, text = verdict(findings(style, inside, outside))
    assert found == kind and text.startswith(kind) and "facts outside: " in text


def test_probes_decide_about_facts_where_there_are_any() -> None:
    sides: tuple[Side, ...] = ("inside", "outside")
    flat = [compare("probe", side, Values([0.3] * 60, [0.3] * 60, [0.9] * 60), ROOTS, 0) for side in sides]
    assert verdict([*findings(0.9, 0.9, 0.9), *flat])[0] == "style without facts"


@pytest.mark.parametrize(("gain", "kind"), [(0.05, "style without facts"), (0.07, "style and facts")])
def test_a_small_part_of_the_lead_is_no_knowledge(gain: float, kind: str) -> None:
    """The lead is 0.6, so a tenth of it is 0.06; either gain is certain, being the same for every root."""
    sides: tuple[Side, ...] = ("inside", "outside")
    probes = [compare("probe", side, Values([0.2] * 60, [0.2 + gain] * 60, [0.8] * 60), ROOTS, 0) for side in sides]
    assert all(one.rose for one in probes)
    assert verdict([*findings(0.9, 0.9, 0.9), *probes])[0] == kind


def test_the_teacher_has_to_be_better_than_the_student_was() -> None:
    better = compare("facts", "inside", Values(shares(0.1), shares(0.1), shares(0.9)), ROOTS, 0)
    same = compare("facts", "inside", Values(shares(0.5), shares(0.9, 1), shares(0.5, 2)), ROOTS, 0)
    assert better.teacher_is_better and not same.teacher_is_better and same.rose


def test_style_is_measured_against_the_same_prompt() -> None:
    said = [Answer("It is red.", True), Answer("- one\n- two", True)]
    other = [Answer("it is red", False), Answer("- one\n- three", True)]
    values = style_values(other, said, said, said)
    assert values["length"].before == [0.0, 0.0] and values["format"].after == [1.0, 1.0]
    # case, last mark and end differ, opening word, lines, list and code agree: 4 of 7
    assert values["format"].before == [pytest.approx(4 / 7), 1.0]
    assert format_of("") == (False, "", 0, False, False, "")
    assert preferences([1.0, 0.0, 0.5], [0.5, 0.5, 0.5]) == [1.0, 0.0, 0.5]
