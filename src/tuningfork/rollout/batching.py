"""Which responses are decoded together: prompts of similar length, within a limit of tokens and rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tuningfork.errors import DataError
from tuningfork.rollout.engine import Request

_PADDING_ALLOWED = 32  # prompts that differ by no more than this always fit together; longer ones up to a factor of 2


@dataclass(frozen=True)
class Row:
    """One response to decode: its request, its place in the result of the call, its key, and its longest length."""

    request: int
    place: int
    key: int
    limit: int


@dataclass(frozen=True)
class DecodeBatch:
    """Responses that are decoded together, and the prompts they share.

    Example: two responses to one prompt and one to another:
        DecodeBatch(prompts=[[5, 9], [4]], rows=[r0, r1, r2], prompt_of_row=[0, 0, 1])
    """

    prompts: list[Sequence[int]]
    rows: list[Row]
    prompt_of_row: list[int]


@dataclass(frozen=True)
class BatchLimits:
    """How much is decoded at once. A token is one position of the KV cache, padding included."""

    tokens: int = 16_384
    rows: int = 256


def plan_batches(
    requests: Sequence[Request], max_new_tokens: int, context: int, limits: BatchLimits
) -> Iterator[DecodeBatch]:
    """Batches that hold every response once, longest prompts first, so that memory peaks at the start.

    Raises DataError for an empty prompt and for one that leaves no room for a response in the context.
    """
    places = _first_places(requests)
    for index, request in enumerate(requests):
        _check_prompt(index, len(request.prompt_ids), context)
    batch, longest = DecodeBatch([], [], []), 0
    for index in sorted(range(len(requests)), key=lambda index: -len(requests[index].prompt_ids)):
        request, length = requests[index], len(requests[index].prompt_ids)
        limit = min(max_new_tokens, context - length)
        for number, key in enumerate(request.keys):
            capacity = max(1, min(limits.rows, limits.tokens // (longest + max_new_tokens)))
            if batch.rows and (len(batch.rows) >= capacity or longest > max(2 * length, length + _PADDING_ALLOWED)):
                yield batch
                batch = DecodeBatch([], [], [])
            if not batch.rows:
                longest = length
            if not batch.rows or batch.rows[-1].request != index:
                batch.prompts.append(request.prompt_ids)
            batch.rows.append(Row(index, places[index] + number, key, limit))
            batch.prompt_of_row.append(len(batch.prompts) - 1)
    if batch.rows:
        yield batch


def _first_places(requests: Sequence[Request]) -> list[int]:
    places, total = [], 0
    for request in requests:
        places.append(total)
        total += len(request.keys)
    return places


def _check_prompt(index: int, length: int, context: int) -> None:
    if length == 0:
        raise DataError(f"prompt {index + 1} has no tokens; give it some text, or a BOS token")
    if length >= context:
        raise DataError(
            f"prompt {index + 1} has {length} tokens, the model's context holds {context}, its response included; "
            "shorten the prompt or use a model with a larger context"
        )
