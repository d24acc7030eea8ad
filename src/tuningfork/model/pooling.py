"""From hidden states (B, T, D) to one state a text: where a reward model reads.

last            the last real token
mean_response   the mean over response tokens: every one plays an equal part
mean_all        the mean over all real tokens
max             the largest value of each of the D numbers over response tokens
attention       sum of softmax(hidden . query / sqrt(D)) hidden over response tokens, the query learnt; from zero, which
                is the mean
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tuningfork.errors import ModelError

Pooling = Literal["last", "mean_response", "mean_all", "max", "attention"]
POOLINGS: tuple[Pooling, ...] = get_args(Pooling)
READS_RESPONSE = ("mean_response", "max", "attention")
"""Poolings for which a prompt without a response has no score."""

POOLING_FILE = "pooling.safetensors"


class AttentionQuery(nn.Module):
    """The learnt query (D,) of the pooling `attention`."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.zeros(hidden_size))

    def save(self, folder: Path) -> None:
        """Write it beside the model."""
        save_file({"query": self.query.detach().cpu().contiguous()}, folder / POOLING_FILE)

    @classmethod
    def load(cls, folder: Path) -> AttentionQuery:
        """Read what `save` wrote; ModelError where it is missing."""
        path = folder / POOLING_FILE
        if not path.is_file():
            raise ModelError(f"{folder}: the pooling is attention, but its query ({POOLING_FILE}) is missing")
        query = load_file(path)["query"]
        made = cls(len(query))
        made.load_state_dict({"query": query})
        return made


def pool(
    hidden: Tensor,
    mask: Tensor,
    pooling: Pooling,
    response_mask: Tensor | None = None,
    query: Tensor | None = None,
) -> Tensor:
    """Pooled states (B, D) of hidden states (B, T, D).

    mask and response_mask (B, T) bool; the last token is the last column whose mask is set: never a search for pad ids, never
    the last column as such.
    """
    if pooling == "last":
        columns = torch.arange(mask.shape[1], device=mask.device)
        last = torch.where(mask, columns, -1).amax(1)  # (B,)
        assert bool((last >= 0).all()), "a row without a real token has no score"
        return hidden[torch.arange(len(hidden), device=hidden.device), last]
    if pooling in READS_RESPONSE:
        assert response_mask is not None, f"{pooling} pooling needs the response mask"
        mask = response_mask & mask
    assert bool(mask.any(1).all()), "a row without a pooled token has no score"
    if pooling == "max":
        return hidden.masked_fill(~mask[..., None], float("-inf")).amax(1)
    if pooling == "attention":
        assert query is not None, "attention pooling needs its query"
        logits = (hidden @ query) / hidden.shape[-1] ** 0.5
        weights = logits.masked_fill(~mask, float("-inf")).softmax(1).unsqueeze(-1)  # (B, T, 1)
        return (hidden.masked_fill(~mask[..., None], 0.0) * weights).sum(1)
    weights = mask.to(hidden.dtype).unsqueeze(-1)
    return (hidden * weights).sum(1) / weights.sum(1)
