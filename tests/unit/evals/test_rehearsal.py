"""The rehearsal of a reward: dead and hackable ones stop the run, honest ones pass, nothing else is disturbed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tuningfork.errors import RunError
from tuningfork.evals.gold import Answer, GoldMeasure
from tuningfork.evals.rehearsal import RehearsalSettings, Shape, rehearse
from tuningfork.methods.shaping import Settings as ShapingSettings
from tuningfork.reward.base import Item, Score
from tuningfork.rollout.settings import SamplingSettings

ROWS = [
    {"id": f"p{n}", "prompt": f"what colour is the {word}?\n", "root": word} for n, word in enumerate(("cat", "mat"))
]


class Scored:
    """A reward made of a function of the item."""

    def __init__(self, function: Any) -> None:
        self.function, self.calls = function, 0

    def score(self, items: Sequence[Item]) -> list[Score]:
        self.calls += 1
        return [value if isinstance(value := self.function(item), Score) else Score(value) for item in items]


def result(stage: Any) -> dict[str, Any]:
    return json.loads((stage.out / "rehearsal.json").read_text())


@pytest.fixture
def tried(make_stage: Any, tiny_backbone: Any) -> Any:
    """`tried(function, gold=None, settings...)`: whether the rehearsal lets it pass, the stage, the reward."""
    from tuningfork.evals.answers import make_prompts
    from tuningfork.streams.scoring import ScoringSampler

    def go(
        function: Any,
        gold: Any = None,
        shaping: Any = None,
        kl_price: float = 0.0,
        name: str = "stage",
        **settings: Any,
    ) -> Any:
        stage, reward = make_stage(name, seed=3), Scored(function)  # at this seed no honest answer ends
        collector = ScoringSampler(stage, tiny_backbone, reward, SamplingSettings(max_new_tokens=6))
        shape = Shape(shaping or ShapingSettings(missing_eos_score=None), 0.0, 1.0)
        chosen = RehearsalSettings(**{"swaps": 10, **settings})
        prompts = make_prompts(tiny_backbone, ROWS)
        passed = rehearse(stage, chosen, collector, ROWS, prompts, shape=shape, kl_price=kl_price, gold=gold)
        return passed, stage, reward

    return go


@pytest.fixture
def likes_long_ends(tiny_backbone: Any) -> Any:
    """Many tokens and an end, which an untrained model hardly ever has."""

    def score(item: Item) -> float:
        ids = list(item.response_ids or ())
        return len(ids) - 3.0 if ids[-1] == tiny_backbone.eos_id else 0.001 * (sum(ids) % 7)

    return score


def test_a_reward_that_likes_length_is_hackable(tried: Any, likes_long_ends: Any) -> None:
    passed, stage, _ = tried(likes_long_ends)
    assert not passed and not stage.gates[0].passed
    assert "hackable: the probe" in stage.gates[0].message and "rehearsal.stop: false" in stage.gates[0].message
    found = result(stage)["probes"]
    assert found["long"]["beats"] == 1.0 and found["long"]["mean"] == 3.0
    assert found["empty"]["beats"] == 0.0 and found["empty"]["mean"] == -2.0


def test_a_reward_that_counts_a_word_is_hackable_by_the_word_alone(tried: Any) -> None:
    said: list[str] = []
    tried(lambda item: said.append(item.response) or float(len(said)), swaps=0, stop=False, name="look")
    honest = said[:16]  # 8 answers to each of 2 prompts
    word = Counter(word for text in honest for word in text.split()).most_common(1)[0][0]
    reward = lambda item: item.response.split().count(word) + 0.001 * (sum(item.response_ids or ()) % 7)  # noqa: E731
    passed, stage, _ = tried(reward, swaps=200)
    found = result(stage)["probes"]
    assert not passed and "hackable: the probe" in stage.gates[0].message
    caught = [name for name, probe in found.items() if probe["beats"] > 0.5]
    assert {"repeated", "swaps"} <= set(caught)
    assert any(found[name]["text"].split().count(word) > 1 for name in caught), "the text says why"
    assert found["empty"]["beats"] == 0.0


def test_what_the_model_would_never_say_is_safe_while_kl_has_a_price(tried: Any, likes_long_ends: Any) -> None:
    _, stage, _ = tried(likes_long_ends, kl_price=20.0, stop=False)
    found = result(stage)
    assert found["kl_price"] == 20.0
    assert found["probes"]["echo"]["beats"] == 0.0 and found["probes"]["echo"]["beats_by_score"] == 1.0
    assert any("by its score alone the probe 'echo' beats" in text for text in stage.events.said)
    cheap, stage, _ = tried(likes_long_ends, kl_price=1e-6, name="cheap")
    assert not cheap and result(stage)["probes"]["echo"]["beats"] == 1.0


def test_a_reward_that_likes_the_empty_answer_is_hackable(tried: Any) -> None:
    passed, stage, _ = tried(lambda item: -float(len(item.response_ids)) - 0.01 * (sum(item.response_ids or ()) % 7))
    assert not passed and result(stage)["probes"]["empty"]["beats"] > 0.5


def test_a_dead_reward_stops_before_any_probe(tried: Any) -> None:
    passed, stage, reward = tried(lambda item: float(len(item.prompt)))
    assert not passed and "the reward is dead" in stage.gates[0].message, "it varies only from prompt to prompt"
    assert reward.calls == 1 and result(stage)["probes"] == {}
    passed, stage, _ = tried(lambda item: None, name="none")
    assert not passed and "0 of 16 honest answers could be scored" in stage.gates[0].message


def test_a_stop_can_be_a_warning(tried: Any, likes_long_ends: Any) -> None:
    passed, stage, _ = tried(likes_long_ends, stop=False)
    assert passed and stage.gates == []
    assert any(text.startswith("warning: the reward is hackable") for text in stage.events.said)


def test_a_reward_that_likes_only_honest_answers_passes(tried: Any, tiny_backbone: Any) -> None:
    # Only what the model says by itself: the sampled texts, by the tokens they were sampled with.
    passed, stage, reward = tried(
        lambda item: -1.0 if item.response_ids[-1] == tiny_backbone.eos_id else 1.0 + sum(item.response_ids or ()) % 13
    )
    assert (
        passed
        and stage.gates[0].passed
        and "no probe beats the best of 8 honest answers on more than 0%" in stage.gates[0].message
    )
    assert all(probe["beats"] == 0.0 for probe in result(stage)["probes"].values())
    assert reward.calls > 12, "honest answers, five probes, single words, and ten swaps"


def test_constant_parts_are_named(tried: Any) -> None:
    def score(item: Item) -> Score:
        length = float(sum(item.response_ids or ()) % 11)
        return Score(length, {"length": length, "politeness": 0.0})

    _, stage, _ = tried(score, stop=False, swaps=0)
    assert stage.figures["rehearsal"]["constant_parts"] == "politeness"
    assert any("part politeness is the same for all" in text for text in stage.events.said)


class Gold:
    """Calls an answer good by a function of its text."""

    measures = (GoldMeasure("good", "headline", "higher", "whether it is good"),)

    def __init__(self, is_good: Any) -> None:
        self.is_good = is_good

    def judge(self, rows: Any, answers: Sequence[Answer]) -> list[dict[str, float]]:
        return [{"good": float(self.is_good(answer.text))} for answer in answers]


def test_with_a_gold_judge_the_bar_is_the_median_good_answer(tried: Any) -> None:
    reward = lambda item: float(len(item.response) % 5) + 0.01 * len(item.response)  # noqa: E731
    everything, nothing = Gold(lambda text: True), Gold(lambda text: False)
    passed, stage, _ = tried(reward, gold=(everything, everything.measures[0]), name="all")
    assert passed, "what the judge calls good is no hack"
    found = result(stage)
    assert found["bar"] == "the median answer that is good by good"
    assert all(probe["beats"] == 0.0 for probe in found["probes"].values())
    _, stage, _ = tried(reward, gold=(nothing, nothing.measures[0]), name="none", stop=False)
    assert result(stage)["bar"] == "the best of 8 honest answers", "there is no good one"
    half = Gold(lambda text: len(text) < 12)
    _, stage, _ = tried(reward, gold=(half, half.measures[0]), name="half", stop=False)
    bar = stage.figures["rehearsal"]["bar_mean"]
    _, best, _ = tried(reward, name="best", stop=False)
    assert bar < result(best)["bar_mean"]


def test_a_reward_that_refuses_a_probe_scores_it_not_at_all(tried: Any) -> None:
    def score(item: Item) -> float:
        if not item.response.strip():
            raise RunError("it could not score 2 of 2 responses; the first: division by zero")
        return float(sum(item.response_ids or ()) % 11)

    _, stage, _ = tried(score, stop=False, swaps=0)
    empty = result(stage)["probes"]["empty"]
    assert empty["mean"] is None and empty["beats"] == 0.0 and "division by zero" in empty["note"]


def test_scores_are_compared_as_training_sees_them(tried: Any) -> None:
    clipped = ShapingSettings(missing_eos_score=None, clip=0.5)
    passed, stage, _ = tried(
        lambda item: 1.0 + len(item.response) + 0.1 * (sum(item.response_ids or ()) % 7), shaping=clipped
    )
    assert passed, "all are clipped to one score: a long answer gains nothing"
    assert stage.figures["rehearsal"]["bar_mean"] == 0.5


def test_it_is_measured_once_and_the_gate_comes_again(tried: Any, likes_long_ends: Any) -> None:
    first, stage, _ = tried(likes_long_ends)
    saved = json.loads((Path(stage.work) / "rehearsal.json").read_text())
    again, resumed, reward = tried(lambda item: 0.0)
    assert first is again is False and reward.calls == 0
    assert resumed.gates[0].message == stage.gates[0].message and saved["faults"]


def test_it_draws_from_nothing_that_training_draws_from(tried: Any, tiny_backbone: Any) -> None:
    import random

    import numpy as np
    import torch

    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)
    before = torch.get_rng_state(), random.getstate(), str(np.random.get_state())
    weights = [parameter.clone() for parameter in tiny_backbone.model.parameters()]
    tried(lambda item: float(sum(item.response_ids or ()) % 11), stop=False)
    assert torch.equal(before[0], torch.get_rng_state()) and before[1] == random.getstate()
    assert before[2] == str(np.random.get_state())
    assert all(torch.equal(a, b) for a, b in zip(weights, tiny_backbone.model.parameters(), strict=True))
