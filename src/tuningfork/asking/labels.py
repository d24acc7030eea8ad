"""How probable it is that a model goes on with each of some labels, such as A and B: read, not drawn."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tuningfork.streams.judgements import JudgedText
from tuningfork.streams.preferences import text_logprobs

if TYPE_CHECKING:
    from tuningfork.model.backbone import Backbone
    from tuningfork.runtime import Runtime


def label_logprobs(
    backbone: Backbone, prompts: Sequence[Sequence[int]], labels: Sequence[Sequence[str]], runtime: Runtime
) -> list[dict[str, float]]:
    """For each prompt (ids) the log-probability of each of its labels, with or without a space before it.

    The sum over all tokens of a label, so labels of several tokens count whole.
    """
    names = sorted({label for own in labels for label in own})
    variants = {name: _variants(backbone, name) for name in names}
    texts = [
        JudgedText(list(prompt), ids)
        for prompt, own in zip(prompts, labels, strict=True)
        for label in own
        for ids in variants[label]
    ]
    found = iter(text_logprobs(backbone, texts, runtime).tolist())
    return [{label: log_sum([next(found) for _ in variants[label]]) for label in own} for own in labels]


def label_shares(logprobs: Mapping[str, float] | None, labels: Sequence[str]) -> list[float] | None:
    """Probabilities of the labels among themselves, summing to 1; None where nothing is known of any of them."""
    found = [math.exp((logprobs or {}).get(label, -math.inf)) for label in labels]
    total = math.fsum(found)
    return [value / total for value in found] if total > 0 else None


def log_sum(logprobs: Sequence[float]) -> float:
    """Logarithm of the sum of probabilities that are given as logarithms."""
    largest = max(logprobs)
    return largest + math.log(math.fsum(math.exp(value - largest) for value in logprobs))


def _variants(backbone: Backbone, label: str) -> list[list[int]]:
    """Token ids of the label and of the label after a space, where they differ."""
    return [list(ids) for ids in {tuple(ids) for ids in backbone.encode([label, f" {label}"])}]
