"""What is read from trl's trainers: the outputs of their models, and the gradient of the loss at each of them."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


def arguments(batch_size: int) -> dict[str, Any]:
    """Settings of every trainer: one device, fp32, nothing reported, nothing saved."""
    return {
        "per_device_train_batch_size": batch_size,
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
    }


class Recorder:
    """Keeps one field of what a model returns each time it is called, with its gradient."""

    def __init__(self, model: nn.Module, field: str = "log_probs") -> None:
        self.tensors: list[Tensor] = []
        self.field = field
        model.register_forward_hook(self._keep)

    def _keep(self, _module: nn.Module, _inputs: Any, output: Any) -> None:
        found = getattr(output, self.field)
        if found.requires_grad:
            found.retain_grad()
        self.tensors.append(found)

    def gradient(self, call: int) -> list[Any]:
        """Gradient of the loss at what was returned in this call."""
        slopes = self.tensors[call].grad
        assert slopes is not None, "the loss does not depend on this output"
        return slopes.tolist()
