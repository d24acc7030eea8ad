"""Trajectories as segments, their tensors, and the keys of their random numbers."""

from __future__ import annotations

import torch
from sampler_models import llama

from tuningfork.randomness import derive_seed
from tuningfork.rollout.rollout import Prompt, Rollout, Segment, collate, sample
from tuningfork.rollout.sampler import LocalEngine
from tuningfork.rollout.settings import SamplingSettings
from tuningfork.tensors import token_logprobs

SETTINGS = SamplingSettings(max_new_tokens=12)
PROMPTS = [Prompt([5, 9, 4], "chair-3", "chair"), Prompt([8], "sky-1", "sky"), Prompt([5, 9], "chair-4", "chair")]


def rollout(*segments: Segment, group: int = 0) -> Rollout:
    return Rollout(segments, "p", group, "root", seed_key=1, policy_version=0, finish_reason="stop")


def test_collate_by_hand() -> None:
    short = rollout(Segment("user", [5]), Segment("assistant", [6, 1], True, 1.0, [-0.5, -0.25]), group=3)
    two_spans = rollout(
        Segment("user", [5, 9]),
        Segment("assistant", [6], True, 1.0, [-1.0]),
        Segment("tool", [7, 7]),
        Segment("assistant", [8, 1], True, 0.5, [-2.0, -3.0]),
        group=4,
    )
    batch = collate([short, two_spans], pad_id=0)
    assert batch.ids.tolist() == [[5, 6, 1, 0, 0, 0, 0], [5, 9, 6, 7, 7, 8, 1]]
    assert batch.mask.int().tolist() == [[1, 1, 1, 0, 0, 0, 0], [1] * 7]
    assert batch.response_mask.int().tolist() == [[0, 1, 1, 0, 0, 0, 0], [0, 0, 1, 0, 0, 1, 1]]
    assert batch.loss_weights.tolist() == [[0, 1, 1, 0, 0, 0, 0], [0, 0, 1, 0, 0, 0.5, 0.5]]
    assert batch.sampled_logprobs.tolist() == [[0, -0.5, -0.25, 0, 0, 0, 0], [0, 0, -1, 0, 0, -2, -3]]
    assert batch.positions.tolist() == [[0, 1, 2, 2, 2, 2, 2], [0, 1, 2, 3, 4, 5, 6]]
    assert batch.groups.tolist() == [3, 4]
    assert two_spans.prompt_ids == [5, 9]
    assert two_spans.response_ids == [6, 7, 7, 8, 1]
    assert two_spans.sampled_logprobs == [-1.0, -2.0, -3.0]


def test_masks_stand_at_the_target_of_the_training_forward() -> None:
    """The training forward on a collated batch gives what the sampler reported: no shift, no wrong position."""
    backbone = llama()
    batch = collate(sample(LocalEngine(backbone), PROMPTS, SETTINGS, seed=0, num_samples=2), pad_id=0)
    with torch.no_grad():
        logits = backbone.model(
            input_ids=batch.ids, attention_mask=batch.mask.long(), position_ids=batch.positions
        ).logits
    recomputed = token_logprobs(logits[:, :-1], batch.ids[:, 1:])
    is_target = batch.response_mask[:, 1:]
    assert torch.allclose(recomputed[is_target], batch.sampled_logprobs[:, 1:][is_target], atol=1e-4)
    assert batch.sampled_logprobs[~batch.response_mask].abs().max() == 0


def test_samples_are_keyed_by_seed_prompt_and_index() -> None:
    engine = LocalEngine(llama())
    rollouts = sample(engine, PROMPTS, SETTINGS, seed=7, num_samples=4)
    assert [r.group for r in rollouts] == [0] * 4 + [1] * 4 + [2] * 4
    assert [r.root for r in rollouts] == ["chair"] * 4 + ["sky"] * 4 + ["chair"] * 4
    assert rollouts[5].seed_key == derive_seed(7, "sample", "sky-1", 1)
    assert [r.prompt_ids for r in rollouts[::4]] == [[5, 9, 4], [8], [5, 9]]
    later = sample(engine, PROMPTS[1:2], SETTINGS, seed=7, num_samples=2, first_sample=2)
    assert [r.response_ids for r in later] == [r.response_ids for r in rollouts[6:8]]
    other = sample(engine, PROMPTS, SETTINGS, seed=8, num_samples=4)
    assert sum(a.response_ids == b.response_ids for a, b in zip(rollouts, other, strict=True)) < 6


def test_scored_keeps_everything_else() -> None:
    before = rollout(Segment("user", [5]), Segment("assistant", [1], True, 1.0, [-0.5]))
    after = before.scored(0.5, {"gem": 1.0, "length": -0.5})
    assert (after.reward, after.reward_parts) == (0.5, {"gem": 1.0, "length": -0.5})
    assert after.segments == before.segments
    assert before.reward is None
