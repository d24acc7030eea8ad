"""What a reward model reads of two answers: its pooled states, and the scores its head makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tuningfork.model.reward_model import RewardModel
    from tuningfork.streams.judgements import JudgedText


@dataclass(frozen=True)
class TextFeatures:
    """Of N texts: pooled states (N, D) and scores (N,)."""

    states: np.ndarray
    scores: np.ndarray


def text_features(reward_model: RewardModel, texts: Sequence[JudgedText], batch_rows: int = 256) -> TextFeatures:
    """Pooled states and scores of texts, in the order given; equal texts are read once, batches are of similar length."""
    import torch

    from tuningfork.model.reward_model import pool
    from tuningfork.streams.judgements import collate_texts

    keys = [(tuple(text.prompt), tuple(text.response)) for text in texts]
    distinct = dict(zip(keys, texts, strict=True))
    order = sorted(distinct, key=lambda key: len(key[0]) + len(key[1]))
    backbone, states = reward_model.backbone, {}
    for start in range(0, len(order), batch_rows):
        part = order[start : start + batch_rows]
        ids, mask, response = (
            tensor.to(backbone.device) for tensor in collate_texts([distinct[key] for key in part], backbone.pad_id)
        )
        with torch.no_grad():
            hidden = backbone.hidden(ids, mask, role=reward_model.role).float()
            states.update(zip(part, pool(hidden, mask, reward_model.pooling, response).cpu().numpy(), strict=True))
    rows = np.stack([states[key] for key in keys])
    weight = reward_model.head.weight.detach().float().cpu().numpy()[0]
    return TextFeatures(rows, reward_model.gain * (rows @ weight) + reward_model.bias)
