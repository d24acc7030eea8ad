"""Batches are cut, moved and padded without touching what belongs to all rows."""

import math

import torch

from tuningfork.batch import ComparisonBatch, Needs, PolicyBatch, TokenBatch


def policy_batch() -> PolicyBatch:
    grid = torch.arange(6.0).view(3, 2)
    mask = torch.tensor([[True, True], [True, False], [True, True]])
    return PolicyBatch(
        logprobs=grid, old_logprobs=grid + 10, advantages=grid + 20, mask=mask, weights=grid + 30, kl_coefficient=0.3
    )


def test_slice_cuts_every_tensor_and_keeps_the_rest() -> None:
    part = policy_batch().slice(slice(1, 3))
    assert len(part) == 2
    assert part.logprobs.tolist() == [[2.0, 3.0], [4.0, 5.0]]
    assert part.weights.tolist() == [[32.0, 33.0], [34.0, 35.0]]
    assert part.mask.tolist() == [[True, False], [True, True]]
    assert part.values is None and part.kl_coefficient == 0.3


def test_zero_padding_clears_what_stands_outside_the_mask() -> None:
    batch = policy_batch()
    batch.logprobs[1, 1] = math.nan
    clean = batch.zero_padding()
    assert clean.logprobs.tolist() == [[0.0, 1.0], [2.0, 0.0], [4.0, 5.0]]
    assert clean.advantages.tolist() == [[20.0, 21.0], [22.0, 0.0], [24.0, 25.0]]
    assert clean.mask.equal(batch.mask) and clean.kl_coefficient == 0.3


def test_comparisons_are_sliced_by_prompt() -> None:
    ids = torch.arange(12).view(2, 2, 3)
    zeros = torch.zeros(2, 1, dtype=torch.int64)
    batch = ComparisonBatch(
        ids=ids, mask=ids >= 0, response_mask=ids % 3 > 0, present=torch.ones(2, 2, dtype=torch.bool), better=zeros,
        worse=zeros + 1, margins=torch.zeros(2, 1), weights=torch.tensor([[0.25], [0.75]]), places=torch.ones(2, 2),
    )  # fmt: skip
    second = batch.slice(slice(1, 2))
    assert second.ids.tolist() == [[[6, 7, 8], [9, 10, 11]]] and second.weights.tolist() == [[0.75]]
    assert second.response_mask.tolist() == [[[False, True, True], [False, True, True]]]


def test_to_moves_every_tensor() -> None:
    ids = torch.zeros(1, 2, dtype=torch.int64)
    moved = TokenBatch(ids=ids, mask=ids == 0, loss_weights=torch.ones(1, 2)).to("meta")
    assert {moved.ids.device.type, moved.mask.device.type, moved.loss_weights.device.type} == {"meta"}


def test_nothing_is_needed_unless_said() -> None:
    assert Needs() == Needs(values=False, reference=False, entropy=False, groups=False)
