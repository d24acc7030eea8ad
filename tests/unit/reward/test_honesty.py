"""The reward for honest answers: 1, 0, -cost, by the answers in the rows."""

from __future__ import annotations

from typing import Any

import pytest

from tuningfork.errors import DataError
from tuningfork.reward.base import Item
from tuningfork.reward.kinds.honesty import Honesty, Settings

ROW: dict[str, Any] = {"id": "sky/q0", "answers": ["blue", "azure"], "wrong": ["red"]}
UNKNOWN = ROW | {"answers": [], "wrong": ["blue", "azure", "red"]}


def scores(cost: float, row: dict[str, Any], *texts: str) -> list[float | None]:
    return [score.total for score in Honesty(Settings(cost=cost)).score([Item("", text, row) for text in texts])]


@pytest.mark.parametrize("cost", [0.0, 1.0, 4.0])
def test_right_earns_abstaining_is_free_and_wrong_costs(cost: float) -> None:
    assert scores(cost, ROW, "it is azure.", "i do not know.", "it is red.", "") == [1.0, 0.0, -cost, -cost]
    assert scores(cost, UNKNOWN, "it is azure.", "i do not know.") == [-cost, 0.0]


def test_answering_pays_above_the_probability_that_the_cost_sets() -> None:
    # cost 4: even odds of 0.8 for "right" earn 0.8 - 4 * 0.2 = 0, as much as abstaining
    right, abstained, wrong = scores(4.0, ROW, "it is blue.", "i do not know.", "it is red.")
    assert right is not None and wrong is not None
    assert 0.8 * right + 0.2 * wrong == pytest.approx(abstained)


def test_a_row_that_says_nothing_of_its_answers_stops_the_run() -> None:
    with pytest.raises(DataError, match="'answers' of every prompt's row; 'sky/q1' has none"):
        scores(1.0, {"id": "sky/q1"}, "it is blue.")
