"""Log-probabilities of given responses under a model, token by token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from tuningfork.model.backbone import Backbone
    from tuningfork.rollout.rollout import Rollout


def response_logprobs(
    backbone: Backbone,
    rollouts: Sequence[Rollout],
    *,
    role: str = "policy",
    temperature: float = 1.0,
    batch_rows: int = 128,
) -> list[Tensor]:
    """For each rollout the log-probs (response tokens,) fp32 on the CPU under a role of `backbone`."""
    import torch

    from tuningfork.rollout.rollout import collate
    from tuningfork.tensors import predictors, token_logprobs

    found: list[Tensor] = []
    for start in range(0, len(rollouts), batch_rows):
        batch = collate(rollouts[start : start + batch_rows], backbone.pad_id).to(backbone.device)
        with torch.no_grad(), backbone.role(role):
            logits = backbone.lm_head(predictors(backbone.hidden(batch.ids, batch.mask), batch.response_mask))
            logprobs = token_logprobs(logits[None], batch.ids[batch.response_mask][None], temperature)[0]
        found.extend(logprobs.cpu().split(batch.response_mask.sum(-1).tolist()))
    return found
