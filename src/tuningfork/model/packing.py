"""Packed rows inside a model: positions and attention of each document by itself, and proof that a model keeps to them.

Shapes: B rows, T columns. `documents` (B, T) int64, rising along a row; padding is a document of its own, so that no
query is left without a key (its softmax would be NaN).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tuningfork.errors import ModelError

if TYPE_CHECKING:
    from tuningfork.model.backbone import Backbone


def document_positions(documents: Tensor) -> Tensor:
    """Position (B, T) of each token within its document."""
    columns = torch.arange(documents.shape[1], device=documents.device)
    is_start = torch.ones_like(documents, dtype=torch.bool)
    is_start[:, 1:] = documents[:, 1:] != documents[:, :-1]
    return columns - (columns * is_start).cummax(1).values


def document_mask(documents: Tensor) -> Tensor:
    """Which key each query may see (B, 1, T, T): itself and what stands before it in its document."""
    is_same = documents[:, :, None] == documents[:, None, :]
    return is_same.tril()[:, None]


@torch.no_grad()
def check_documents(backbone: Backbone, length: int) -> None:
    """Raise ModelError unless packed documents of `length` tokens stay apart in this architecture.

    Recurrent layers, relative position biases and kernels that ignore the mask would let one document see another
    without a word. So two documents are packed and each must come out as it does alone.
    """
    name = type(backbone.model).__name__
    if not backbone.takes_positions:
        raise ModelError(f"{name} takes no positions, so documents cannot be packed; use packing: none")
    window = getattr(backbone.config, "sliding_window", None)
    if window is not None and getattr(backbone.config, "use_sliding_window", True) and window < length:
        raise ModelError(
            f"{name} attends over a window of {window} tokens, which packing would widen; "
            f"pack at most {window} tokens a row or use packing: none"
        )
    size = min(8, backbone.max_length // 2)
    ids = torch.arange(2 * size, device=backbone.device).remainder(backbone.vocabulary_size)[None]
    documents = (torch.arange(2 * size, device=backbone.device) >= size).long()[None]
    mask = torch.ones_like(ids, dtype=torch.bool)
    packed = backbone.hidden(ids, mask, documents=documents).float()
    alone = torch.cat(
        [backbone.hidden(part, torch.ones_like(part, dtype=torch.bool)) for part in ids.split(size, 1)], 1
    )
    difference = float((packed - alone.float()).abs().max() / alone.float().abs().max().clamp(min=1e-6))
    tolerance = 1e-4 if backbone.model.dtype in (torch.float32, torch.float64) else 2e-2
    if not difference <= tolerance:
        raise ModelError(
            f"{name} lets packed documents see each other (hidden states differ by {difference:.1e} of their size); "
            "use packing: none"
        )
