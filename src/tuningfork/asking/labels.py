"""How probable it is that a model goes on with each of some labels, such as A and B: read, not drawn."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tuningfork.model.backbone import Backbone
    from tuningfork.runtime import Runtime

Ids = tuple[int, ...]


def label_logprobs(
    backbone: Backbone,
    prompts: Sequence[Sequence[int]],
    labels: Sequence[Sequence[str]],
    runtime: Runtime,
    batch_rows: int = 128,
) -> list[dict[str, float]]:
    """For each prompt (ids) the log-probability of each of its labels, with or without a space before it.

    The sum over all tokens of a label, so labels of several tokens count whole. Labels that begin alike share a forward:
    letters cost one a prompt, or two where a letter behind a space is two tokens.
    """
    names = {label for own in labels for label in own}
    variants = {name: _variants(backbone, name) for name in names}
    rows = [
        (number, head)
        for number, own in enumerate(labels)
        for head in _longest({ids[:-1] for label in own for ids in variants[label]})
    ]
    found: list[dict[Ids, float]] = [{} for _ in prompts]
    rows.sort(key=lambda row: len(prompts[row[0]]) + len(row[1]))
    for start in range(0, len(rows), batch_rows):
        part = rows[start : start + batch_rows]
        wanted = [
            [ids for label in labels[number] for ids in variants[label] if ids[:-1] == head[: len(ids) - 1]]
            for number, head in part
        ]
        texts = [(prompts[number], head) for number, head in part]
        for (number, _), known in zip(part, _continuations(backbone, texts, wanted, runtime), strict=True):
            found[number] |= known
    return [
        {label: log_sum([known[ids] for ids in variants[label]]) for label in own}
        for known, own in zip(found, labels, strict=True)
    ]


def _continuations(
    backbone: Backbone, texts: Sequence[tuple[Sequence[int], Ids]], wanted: Sequence[Sequence[Ids]], runtime: Runtime
) -> list[dict[Ids, float]]:
    """For each (prompt, head) the log-probabilities of the wanted continuations of the prompt, which are head and one token
    at most: one forward for all."""
    import torch

    from tuningfork.streams.judgements import JudgedText, collate_texts
    from tuningfork.tensors import predictors

    # The last token only makes a place behind the head; which one it is has no effect on what stands before it.
    rows = [JudgedText(list(prompt), [*head, 0]) for prompt, head in texts]
    ids, mask, places = (column.to(backbone.device) for column in collate_texts(rows, backbone.pad_id))
    with torch.no_grad(), runtime.autocast():
        logits = backbone.lm_head(predictors(backbone.hidden(ids, mask), places))
    own = logits.float().log_softmax(-1).cpu().split([len(head) + 1 for _, head in texts])
    return [
        {one: math.fsum(float(known[place, id]) for place, id in enumerate(one)) for one in asked}
        for known, asked in zip(own, wanted, strict=True)
    ]


def _longest(heads: set[Ids]) -> list[Ids]:
    """Those that no other begins with."""
    return sorted(head for head in heads if not any(other != head and other[: len(head)] == head for other in heads))


def label_shares(logprobs: Mapping[str, float] | None, labels: Sequence[str]) -> list[float] | None:
    """Probabilities of the labels among themselves, summing to 1; None where nothing is known of any of them."""
    found = [math.exp((logprobs or {}).get(label, -math.inf)) for label in labels]
    total = math.fsum(found)
    return [value / total for value in found] if total > 0 else None


def log_sum(logprobs: Sequence[float]) -> float:
    """Logarithm of the sum of probabilities that are given as logarithms."""
    largest = max(logprobs)
    return largest + math.log(math.fsum(math.exp(value - largest) for value in logprobs))


def _variants(backbone: Backbone, label: str) -> list[Ids]:
    """Token ids of the label and of the label after a space, where they differ."""
    return sorted({tuple(ids) for ids in backbone.encode([label, f" {label}"])})
