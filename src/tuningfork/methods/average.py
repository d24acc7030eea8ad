"""How token losses become one number: weights (B, T), computed once over the whole optimizer step.

The loss is (token losses * weights).sum(), whatever micro-batches it is summed over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from tuningfork.errors import RecipeError

if TYPE_CHECKING:
    from torch import Tensor

Average = Literal["token_mean", "sequence_mean", "sequence_sum", "constant"]


def average_weights(mask: Tensor, kind: Average, length: int | None = None) -> Tensor:
    """Weights (B, T) of this average over the entries of `mask`; 0 outside, and all 0 when the mask is empty.

    token_mean      every token counts the same                 1 / tokens
    sequence_mean   every sequence counts the same              1 / (tokens of the sequence * sequences)
    sequence_sum    a sequence counts as long as it is          1 / sequences
    constant        the same, in units of `length` tokens       1 / (length * sequences)    (Dr. GRPO, 2503.20783)
    `mask` may hold loss weights instead of booleans; a token then counts that many times. Sequences without a token do
    not count.
    """
    if kind not in get_args(Average):
        raise RecipeError(f"no average {kind!r}: choose one of {', '.join(get_args(Average))}")
    if (kind == "constant") != (length is not None):
        raise RecipeError("a length goes with the average 'constant' and with no other")
    num_sequences = (mask.sum(-1) > 0).sum().clamp(min=1)
    if kind == "token_mean":
        return mask / _or_one(mask.sum())
    if kind == "sequence_mean":
        return mask / _or_one(mask.sum(-1, keepdim=True)) / num_sequences
    return mask / num_sequences if length is None else mask / num_sequences / length


def _or_one(total: Tensor) -> Tensor:
    """The total, or 1 in place of 0, which then divides weights that are all 0."""
    return total.masked_fill(total == 0, 1)
