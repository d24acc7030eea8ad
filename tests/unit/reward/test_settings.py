"""The choice of a reward: strict, by name, torch-free; its loading from a stage's inputs; scales."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from tuningfork.errors import DataError, RunError
from tuningfork.reward import load_reward
from tuningfork.reward.base import Item, Score
from tuningfork.reward.scale import ScoreScale
from tuningfork.reward.settings import RewardSettings, kind_names
from tuningfork.runtime import Runtime
from tuningfork.settings import Settings, input_fields
from tuningfork.stage import ResolvedInput

CPU = Runtime("cpu", "fp32", 1)


class Stage(Settings):
    reward: RewardSettings


def parse(value: Any) -> Any:
    return TypeAdapter(RewardSettings).validate_python(value)


def test_each_kind_is_chosen_by_name() -> None:
    assert {"classifier", "ensemble", "function", "learned", "lexicon", "bleu", "rouge"} <= set(kind_names())
    assert parse({"name": "learned", "model": "reward/model"}).model == "reward/model"
    assert parse({"name": "classifier", "model": "m", "label": "POSITIVE"}).scale == "log_odds"
    assert parse({"name": "function", "function": "a.py:b"}).max_unscorable == 0.05
    assert parse({"name": "lexicon", "words": "w.txt"}).counts == "per_100_words"


@pytest.mark.parametrize(
    "value",
    [
        {"name": "lexicons", "words": "w.txt"},
        {"words": "w.txt"},
        {"name": "lexicon"},
        {"name": "lexicon", "words": "w.txt", "count": "presence"},
        {"name": "learned", "model": "m", "label": "POSITIVE"},
        {"name": "combined", "terms": {}},
        {"name": "combined", "terms": {"a": {"reward": {"name": "lexicon", "words": "w"}}}},
    ],
)
def test_the_choice_is_strict(value: Any) -> None:
    with pytest.raises(ValidationError):
        parse(value)


def test_settings_are_read_without_torch() -> None:
    code = "import sys, tuningfork.reward.settings, tuningfork.rollout.settings; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_lexicon_is_loaded_from_a_stages_inputs(tmp_path: Path) -> None:
    (tmp_path / "good.txt").write_text("good\n")
    (tmp_path / "bad.txt").write_text("bad\n")
    stage = Stage(
        reward={  # pyright: ignore[reportArgumentType]
            "name": "combined",
            "terms": {
                "good": {"reward": {"name": "lexicon", "words": "good.txt"}, "weight": 1.0},
                "bad": {"reward": {"name": "lexicon", "words": "bad.txt"}, "weight": -2.0},
            },
        }
    )
    fields = input_fields(stage)
    assert fields == {"reward.terms.good.reward.words": "good.txt", "reward.terms.bad.reward.words": "bad.txt"}
    inputs = {name: ResolvedInput(str(tmp_path / file), key=file) for name, file in fields.items()}
    (score,) = load_reward(stage.reward, inputs, CPU).score([Item("", "good bad film here")])
    assert score.total == pytest.approx(25 - 50)  # one word of four each
    single = load_reward(
        parse({"name": "lexicon", "words": "good.txt"}), {"reward.words": inputs[next(iter(fields))]}, CPU
    )
    assert single.score([Item("", "good film")])[0].total == pytest.approx(50)


def test_the_scale_by_hand_and_through_a_file(tmp_path: Path) -> None:
    scale = ScoreScale.fit([1.0, None, 3.0, 5.0])
    assert scale.mean == 3.0
    assert scale.deviation == pytest.approx((8 / 3) ** 0.5)  # (4 + 0 + 4) / 3
    scale.save(tmp_path / "scale.json")
    assert ScoreScale.load(tmp_path / "scale.json") == scale
    scaled = scale.apply([Score(1.0, {"x": 7.0}), Score(None)])
    assert scaled[0] == Score((1.0 - 3.0) / scale.deviation, {"x": 7.0})
    assert scaled[1].total is None


@pytest.mark.parametrize("totals", [[], [None], [1.0], [2.0, 2.0, None]])
def test_a_dead_reward_has_no_scale(totals: list[float | None]) -> None:
    with pytest.raises(RunError, match="the reward is dead"):
        ScoreScale.fit(totals)


def test_a_broken_scale_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "scale.json").write_text('{"mean": 1}')
    with pytest.raises(DataError, match=r"scale\.json: not a saved scale"):
        ScoreScale.load(tmp_path / "scale.json")
