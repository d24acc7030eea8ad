"""Sums of standardised rewards, and one reward before another, by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from tuningfork.reward import load_reward
from tuningfork.reward.base import Item, Score
from tuningfork.reward.combine import Combined, Gated, Standardised
from tuningfork.reward.settings import CombinedSettings, GatedSettings, RewardSettings
from tuningfork.runtime import Runtime
from tuningfork.settings import Settings, input_fields
from tuningfork.stage import ResolvedInput

LENGTH = {"name": "length", "at_most": 0}


class Stage(Settings):
    reward: RewardSettings


class Fixed:
    """A reward with given totals."""

    def __init__(self, *totals: float | None, prefixes: Sequence[float] | None = None) -> None:
        self.totals, self.prefixes = totals, prefixes

    def score(self, items: Sequence[Item]) -> list[Score]:
        return [Score(total, {"raw": 9.0}, self.prefixes) for total in self.totals[: len(items)]]


def combined(rewards: dict[str, Fixed], **terms: dict[str, Any]) -> Combined:
    settings = CombinedSettings.model_validate(
        {"name": "combined", "terms": {name: {"reward": LENGTH, **term} for name, term in terms.items()}}
    )
    return Combined(settings, {name: Standardised.of(rewards[name], arm) for name, arm in settings.terms.items()})


def gated(first: Fixed, second: Fixed, **changes: Any) -> Gated:
    arms = {name: {"reward": LENGTH, **changes.pop(name, {})} for name in ("gate", "otherwise")}
    settings = GatedSettings.model_validate({"name": "gated", **arms, **changes})
    return Gated(settings, Standardised.of(first, settings.gate), Standardised.of(second, settings.otherwise))


def test_a_weighted_sum_by_hand() -> None:
    rewards = {"a": Fixed(2.0, 1.0, None), "b": Fixed(3.0, None, 1.0)}
    reward = combined(rewards, a={"weight": 2.0, "mean": 1.0, "deviation": 0.5}, b={"weight": -1.0})
    scores = reward.score([Item("", "")] * 3)
    # 2 (2 - 1) / 0.5 - 3 = 1; the others lack a term
    assert scores[0] == Score(1.0, {"a/raw": 9.0, "a": 4.0, "b/raw": 9.0, "b": -3.0})
    assert [score.total for score in scores[1:]] == [None, None]


def test_a_weighted_sum_of_prefixes_by_hand() -> None:
    rewards = {"a": Fixed(2.0, prefixes=[0.5, 1.5, 2.0]), "b": Fixed(3.0)}
    reward = combined(rewards, a={"weight": 2.0, "mean": 1.0, "deviation": 0.5}, b={"weight": 1.0})
    (score,) = reward.score([Item("", "")])
    # 2 (p - 1) / 0.5 = -2, 2, 4; b is known at the end: 4 + 3
    assert score.prefixes == [-2.0, 2.0, 7.0] and score.total == 7.0


def test_a_term_is_clipped_after_it_is_standardised_and_before_it_is_weighted() -> None:
    reward = combined({"a": Fixed(9.0, -9.0, 2.0)}, a={"weight": 2.0, "mean": 1.0, "deviation": 2.0, "clip": 1.5})
    # (9 - 1) / 2 = 4 -> 1.5; (-9 - 1) / 2 = -5 -> -1.5; (2 - 1) / 2 = 0.5
    assert [score.total for score in reward.score([Item("", "")] * 3)] == [3.0, -3.0, 1.0]


def test_safety_comes_before_helpfulness() -> None:
    safety, helpfulness = Fixed(0.1, 0.15, 0.9, 0.9, None), Fixed(5.0, 5.0, 5.0, 7.0, 5.0)
    reward = gated(safety, helpfulness, marked="is_risky", otherwise={"mean": 4.0, "deviation": 2.0})
    items = [Item("", "")] * 2 + [Item("", "", {"is_risky": True}), Item("", "", {"is_risky": False}), Item("", "")]
    scores = reward.score(items)
    # below 0.15 and marked: the gate's score; at 0.15 and above: (5 - 4) / 2 and (7 - 4) / 2
    assert [score.total for score in scores] == [0.1, 0.5, 0.9, 1.5, None]
    assert [score.parts.get("gate_decides") for score in scores] == [1.0, 0.0, 1.0, 0.0, None]
    assert scores[1].parts == {"gate/raw": 9.0, "gate": 0.15, "otherwise/raw": 9.0, "otherwise": 0.5, "gate_decides": 0}


def test_an_unscorable_reward_that_does_not_count_does_no_harm() -> None:
    scores = gated(Fixed(0.0, 1.0), Fixed(None, None)).score([Item("", "")] * 2)
    assert [score.total for score in scores] == [0.0, None]


def test_prefixes_pass_the_gate_standardised() -> None:
    reward = gated(Fixed(1.0), Fixed(4.0, prefixes=[2.0, 4.0]), otherwise={"mean": 2.0, "deviation": 2.0})
    (score,) = reward.score([Item("", "")])
    assert score.prefixes == [0.0, 1.0] and score.total == 1.0


def test_a_scale_is_read_from_what_a_stage_measured(tmp_path: Path) -> None:
    (tmp_path / "scale.json").write_text(json.dumps({"mean": -2.0, "deviation": 0.5}))
    stage = Stage.model_validate(
        {
            "reward": {
                "name": "combined",
                "terms": {"short": {"reward": LENGTH | {"per": 1}, "weight": 1.0, "scale": "score/scale.json"}},
            }
        }
    )
    assert input_fields(stage) == {"reward.terms.short.scale": "score/scale.json"}
    inputs = {"reward.terms.short.scale": ResolvedInput(str(tmp_path / "scale.json"), "k")}
    (score,) = load_reward(stage.reward, inputs, Runtime("cpu", "fp32", 1)).score([Item("", "one two three")])
    assert score.total == -2.0  # (-3 + 2) / 0.5


@pytest.mark.parametrize(
    "arm",
    [{"weight": 1, "scale": "s", "mean": 1.0}, {"weight": 1, "scale": "s", "deviation": 2.0}, {"weight": 1, "clip": 0}],
)
def test_a_scale_is_given_once_and_a_clip_leaves_something(arm: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(RewardSettings).validate_python({"name": "combined", "terms": {"a": {"reward": LENGTH, **arm}}})
