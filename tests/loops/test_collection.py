"""What an iteration of RL collects: prompts that come again, responses without a score, figures that chunks do not change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch

from tuningfork.batch import Needs
from tuningfork.errors import RunError
from tuningfork.methods import policy
from tuningfork.methods.kl import FixedKL
from tuningfork.methods.shaping import Settings as ShapingSettings
from tuningfork.reward.base import Item, Score
from tuningfork.rollout.rollout import Prompt
from tuningfork.rollout.settings import SamplingSettings
from tuningfork.streams.collection import Collector, Plan
from tuningfork.streams.rollouts import Actor, RolloutStream
from tuningfork.streams.scoring import ScoringSampler

WORDS = ["cat", "mat", "cap"]


class Vowels:
    """Share of some letters; None, and no parts, for the prompts that it refuses."""

    def __init__(self, refused: Sequence[str] = ()) -> None:
        self.refused = refused

    def score(self, items: Sequence[Item]) -> list[Score]:
        return [self._score(item) for item in items]

    def _score(self, item: Item) -> Score:
        share = sum(c in "acegikmo" for c in item.response) / (1 + len(item.response))
        return Score(None) if item.prompt in self.refused else Score(share, {"share": share})


def sampler(make_stage: Any, backbone: Any, reward: Vowels, chunk: int | None = None) -> ScoringSampler:
    return ScoringSampler(
        make_stage(), backbone, reward, SamplingSettings(max_new_tokens=6), samples_per_prompt=2, chunk=chunk
    )


def prompts_of(backbone: Any, words: Sequence[str]) -> tuple[list[Prompt], list[dict[str, str]]]:
    ids = backbone.encode(list(words))
    prompts = [Prompt([*backbone.start_ids, *own], word) for own, word in zip(ids, words, strict=True)]
    return prompts, [{"id": word, "prompt": word} for word in words]


@pytest.mark.parametrize("chunk", [None, 2, 4])
def test_a_prompt_that_comes_again_draws_other_responses(
    make_stage: Any, tiny_backbone: Any, chunk: int | None
) -> None:
    """Copies would weigh a response twice and teach nothing that the first one did not."""
    chosen, rows = prompts_of(tiny_backbone, ["cat", "mat", "cat", "cat"])
    found = sampler(make_stage, tiny_backbone, Vowels(), chunk).collect(chosen, rows, 0).rollouts
    responses = [tuple(rollout.response_ids) for rollout in found]
    assert len(set(responses)) == len(responses) == 8
    assert [rollout.prompt_id for rollout in found] == [word for word in ("cat", "mat", "cat", "cat") for _ in "12"]
    alone = sampler(make_stage, tiny_backbone, Vowels()).collect(chosen[:2], rows[:2], 0).rollouts
    assert responses[:4] == [tuple(rollout.response_ids) for rollout in alone], "the first ones stay as they were"


def test_parts_are_means_over_responses_that_have_them_whatever_the_chunks(make_stage: Any, tiny_backbone: Any) -> None:
    chosen, rows = prompts_of(tiny_backbone, WORDS)
    reward = Vowels(refused=["mat"])
    whole, *parts = (
        sampler(make_stage, tiny_backbone, reward, chunk).collect(chosen, rows, 0) for chunk in (None, 2, 4)
    )
    known = [score for score in whole.scores if score is not None]
    assert len(known) == 4 and whole.part_means() == {"share": pytest.approx(sum(known) / 4, abs=1e-12)}
    for part in parts:
        assert part.scores == whole.scores and part.part_means() == pytest.approx(whole.part_means(), abs=1e-12)


def stream_of(make_stage: Any, backbone: Any, reward: Vowels, minibatches: int) -> RolloutStream:
    chosen, rows = prompts_of(backbone, WORDS)
    collect = sampler(make_stage, backbone, reward)

    def sample(indices: Sequence[int], purpose: object) -> Any:
        return collect.collect([chosen[i] for i in indices], [rows[i] for i in indices], purpose)

    grpo: Any = policy.load("grpo")
    plan = Plan(2, 3, 2, minibatches, 1, 1.0, 6)
    shaping, device = ShapingSettings(missing_eos_score=None), torch.device("cpu")
    return RolloutStream(
        actor=Actor(backbone, None),
        method=grpo,
        settings=grpo.Settings(kl_in="none", kl_estimator=None),
        collector=Collector(sample, sample, Needs(groups=True), plan, 3, 0, device, shaping),
        controller=FixedKL(0.0),
        precision="fp32",
        seed=0,
    )


def test_a_mini_batch_without_a_scored_response_is_left_out(make_stage: Any, tiny_backbone: Any) -> None:
    stream = stream_of(make_stage, tiny_backbone, Vowels(refused=["cat", "cap"]), minibatches=6)
    batches = [stream.next_batch(step) for step in range(6)]
    assert sum(batch is None for batch in batches) == 4
    for batch in batches:
        assert batch is None or float(batch.weights.sum()) == pytest.approx(1.0)


def test_an_iteration_without_a_scored_response_says_so(make_stage: Any, tiny_backbone: Any) -> None:
    stream = stream_of(make_stage, tiny_backbone, Vowels(refused=WORDS), minibatches=1)
    with pytest.raises(RunError, match="none of the 6 responses of iteration 1 could be scored"):
        stream.next_batch(0)


def test_one_scored_response_has_no_deviation(make_stage: Any, tiny_backbone: Any) -> None:
    """The deviation of one number is left out, not NaN."""
    stream = stream_of(make_stage, tiny_backbone, Vowels(), minibatches=1)
    stream.next_batch(0)
    assert stream.report["score_std"] > 0
    chosen, rows = prompts_of(tiny_backbone, WORDS[:1])
    sampled = sampler(make_stage, tiny_backbone, Vowels()).collect(chosen, rows, 0, greedy=True)
    assert "score_std" not in stream.collector.describe(sampled)
