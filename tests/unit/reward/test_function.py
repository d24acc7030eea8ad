"""Python functions as rewards: what they may return, how they may fail, how they are found."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from tuningfork.errors import RecipeError, RunError
from tuningfork.reward.base import Item
from tuningfork.reward.kinds.function import FunctionReward, find_function

ITEMS = [Item("p", str(number), {"number": number}) for number in range(40)]


def reward(function: Any, max_unscorable: float = 0.05) -> FunctionReward:
    return FunctionReward(function, "reward.py:score", max_unscorable)


def test_the_function_sees_prompt_response_and_metadata() -> None:
    (score,) = reward(lambda prompt, response, metadata: len(prompt) + 10 * len(response) + metadata["x"]).score(
        [Item("ab", "c", {"x": 100})]
    )
    assert (score.total, score.parts) == (112.0, {})


@pytest.mark.parametrize("value", [2, 2.0, True + 1, torch.tensor(2.0)])
def test_any_number_will_do(value: Any) -> None:
    assert reward(lambda *_: value).score(ITEMS[:1])[0].total == 2.0


def test_parts_are_summed_and_kept() -> None:
    (score,) = reward(lambda *_: {"gem": 1.0, "length": -0.25}).score(ITEMS[:1])
    assert (score.total, score.parts) == (0.75, {"gem": 1.0, "length": -0.25})


@pytest.mark.parametrize("bad", [None, math.nan, math.inf, {"gem": math.nan}, "2.0", "fail"])
def test_one_bad_response_is_unscorable_and_not_zero(bad: Any) -> None:
    def function(_prompt: str, _response: str, metadata: dict[str, int]) -> Any:
        if metadata["number"] != 7:
            return 1.0
        if bad == "fail":
            raise KeyError("absent")
        return bad

    totals = [score.total for score in reward(function).score(ITEMS)]
    assert totals == [None if number == 7 else 1.0 for number in range(40)]


def test_more_than_the_allowed_share_stops_the_run() -> None:
    def function(_prompt: str, _response: str, metadata: dict[str, int]) -> float:
        return 1.0 / (metadata["number"] // 3)

    # the first three of 40 divide by zero: 7.5 %
    assert [score.total for score in reward(function, max_unscorable=0.1).score(ITEMS)][:4] == [None, None, None, 1.0]
    with pytest.raises(
        RunError, match=r"reward\.py:score could not score 3 of 40 responses .at most 5%.*ZeroDivisionError"
    ) as caught:
        reward(function).score(ITEMS)
    assert f"({__file__}:" in str(caught.value)


def test_a_file_is_found(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("def score(prompt, response, metadata):\n    return len(response)\n")
    assert find_function(f"{file}:score")("", "abc", {}) == 3


def test_a_module_is_found() -> None:
    assert find_function("shutil:move") is shutil.move  # any function of three arguments


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        ("def score(prompt, response):\n    return 1\n", "score", r"has to take \(prompt, response, metadata\)"),
        ("def score(a, b, c):\n    return 1\n", "scores", "has no function 'scores'"),
        ("score = 3\n", "score", "has no function 'score'"),
        ("def score(:\n", "score", r"mine\.py:1: "),
    ],
)
def test_what_is_no_reward_function_is_refused_at_once(tmp_path: Path, content: str, name: str, message: str) -> None:
    file = tmp_path / "mine.py"
    file.write_text(content)
    with pytest.raises(RecipeError, match=message):
        find_function(f"{file}:{name}")


@pytest.mark.parametrize(
    "reference", ["score", "mine.py", "mine.py:a.b", "no_such_module_here:score", "absent.py:score"]
)
def test_a_reference_that_names_nothing_is_refused(reference: str) -> None:
    with pytest.raises(RecipeError):
        find_function(reference)
