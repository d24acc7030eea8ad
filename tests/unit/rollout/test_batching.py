"""The plan of decode batches: nothing lost, limits kept, prompts shared, bad prompts named."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuningfork.errors import DataError
from tuningfork.rollout.batching import BatchLimits, plan_batches
from tuningfork.rollout.engine import Request

requests = st.lists(
    st.builds(lambda length, keys: Request([7] * length, range(keys)), st.integers(1, 90), st.integers(0, 5)),
    max_size=12,
)


@given(requests, st.integers(1, 30), st.integers(1, 300), st.integers(1, 9))
def test_every_response_is_planned_once_within_the_limits(requests, max_new_tokens, tokens, rows) -> None:
    batches = list(plan_batches(requests, max_new_tokens, 100, BatchLimits(tokens, rows)))
    planned = sorted((row.place, row.request, row.key) for batch in batches for row in batch.rows)
    wanted = [(index, key) for index, request in enumerate(requests) for key in request.keys]
    assert planned == [(place, *pair) for place, pair in enumerate(wanted)]
    for batch in batches:
        lengths = [len(prompt) for prompt in batch.prompts]
        assert len(batch.rows) <= rows
        assert len(batch.rows) == 1 or len(batch.rows) * (max(lengths) + max_new_tokens) <= tokens
        assert max(lengths) <= max(2 * min(lengths), min(lengths) + 32)
        for row, prompt in zip(batch.rows, batch.prompt_of_row, strict=True):
            assert batch.prompts[prompt] is requests[row.request].prompt_ids
            assert row.limit == min(max_new_tokens, 100 - lengths[prompt])


def test_samples_of_one_prompt_share_its_prefill() -> None:
    (batch,) = plan_batches([Request([5, 6], range(4)), Request([7], range(2))], 8, 64, BatchLimits())
    assert batch.prompts == [[5, 6], [7]]
    assert batch.prompt_of_row == [0, 0, 0, 0, 1, 1]


def test_a_prompt_that_fills_the_context_is_named() -> None:
    with pytest.raises(DataError, match=r"prompt 2 has 10 tokens, the model's context holds 10"):
        list(plan_batches([Request([1] * 9, [0]), Request([1] * 10, [0])], 4, 10, BatchLimits()))


def test_an_empty_prompt_is_named() -> None:
    with pytest.raises(DataError, match="prompt 1 has no tokens"):
        list(plan_batches([Request([], [0])], 4, 10, BatchLimits()))
