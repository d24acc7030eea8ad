"""Scores of answers as reinforcement learning would get them: through the reward kind `learned`, in batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tuningfork.errors import RunError
from tuningfork.reward.base import Item, Reward

if TYPE_CHECKING:
    from torch import Tensor

    from tuningfork.model.reward_model import RewardModel


def score_items(model: RewardModel, items: Sequence[Item]) -> list[float]:
    """Scores of answers that all fit the model."""
    from tuningfork.reward.kinds.learned import Learned

    return known_scores(Learned(model, model.backbone.tokenizer), items)


def known_scores(reward: Reward, items: Sequence[Item]) -> list[float]:
    """Totals; RunError where one could not be scored."""
    totals = [score.total for score in reward.score(items)]
    found = [total for total in totals if total is not None]
    if len(found) < len(totals):
        raise RunError(f"{len(totals) - len(found)} of {len(totals)} held-out answers could not be scored")
    return found


def raw_scores(model: RewardModel, items: Sequence[Item]) -> Tensor:
    """What the head gives for answers with ids, (N, C) on the CPU."""
    import torch

    from tuningfork.streams.judgements import JudgedText, collate_texts

    texts = [JudgedText(list(item.prompt_ids or []), list(item.response_ids or [])) for item in items]
    order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
    raw = torch.empty(len(texts), model.head.out_features)
    for start in range(0, len(order), 64):
        rows = order[start : start + 64]
        batch = collate_texts([texts[row] for row in rows], model.backbone.pad_id)
        with torch.no_grad():
            raw[rows] = model.raw_scores(*(tensor.to(model.backbone.device) for tensor in batch)).cpu()
    return raw


def mean_scores(models: Sequence[RewardModel], items: Sequence[Item]) -> list[float]:
    """Scores by one model, or the means over an ensemble's members."""
    columns = [score_items(model, items) for model in models]
    return [sum(values) / len(values) for values in zip(*columns, strict=True)]
