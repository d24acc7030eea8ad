"""Next-token prediction: pretraining and supervised fine-tuning.

loss_t = -log p(ids_t | ids_<t),   logits[:, t - 1] predict ids[:, t]
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tuningfork.tensors import token_logprobs

if TYPE_CHECKING:
    from torch import Tensor


def token_loss(logits: Tensor, targets: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Negative log-likelihood (N,) of the tokens targets (N,) under the logits (N, V) that predict them.

    Only positions that have a target come here, so nothing is computed for prompts and padding. Average with the
    weights of the batch. Metrics (N,): `nll`, and `token_accuracy`, 1.0 where the likeliest token is the right one.
    """
    losses = -token_logprobs(logits, targets)
    is_correct = (logits.argmax(-1) == targets).to(losses.dtype)
    return losses, {"nll": losses.detach(), "token_accuracy": is_correct}
