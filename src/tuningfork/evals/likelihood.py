"""Which of two models finds the same good answers likelier: a judge that needs no third model and that nothing can please.

Negative log-likelihood per byte of answers that others wrote and preferred is a proper score: it does not go up with
length, lists or politeness, and models of different tokenizers are compared in the same unit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tuningfork.evals.numbers import figure
from tuningfork.evals.statistics import Comparison

if TYPE_CHECKING:
    from tuningfork.data.rows import TokenRow
    from tuningfork.model.backbone import Backbone


def answer_bytes(row: Mapping[str, Any]) -> int:
    """UTF-8 bytes of the assistant's turns of a conversation."""
    return sum(len(turn["content"].encode()) for turn in row["messages"] if turn["role"] == "assistant")


def nats_per_byte(backbone: Backbone, rows: Sequence[TokenRow], num_bytes: Sequence[int]) -> list[float]:
    """For each token row the negative log-likelihood of its targets over the bytes of its answers."""
    from tuningfork.streams.text import text_nll

    return [text_nll(backbone, [row])[0] / size for row, size in zip(rows, num_bytes, strict=True)]


def verdict(comparison: Comparison) -> str:
    """`first`, `second` or `cannot_tell`, by the interval of second - first; lower is better."""
    if comparison.ci95 is None or comparison.ci95[0] <= 0 <= comparison.ci95[1]:
        return "cannot_tell"
    return "second" if comparison.ci95[1] < 0 else "first"


def sentence(name: str, comparison: Comparison) -> str:
    """One line: both values and the interval of their difference."""
    interval = f" [{figure(comparison.ci95[0])}, {figure(comparison.ci95[1])}]" if comparison.ci95 else ""
    return (
        f"{name}: {figure(comparison.before)} (first) and {figure(comparison.after)} (second) nats a byte of {comparison.n:,} "
        f"answers, difference {figure(comparison.difference)}{interval}"
    )
