"""Small parts that read the trunk's last hidden states: the value head and the scalar reward head."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from tuningfork.errors import ModelError
from tuningfork.randomness import generator
from tuningfork.tensors import at_least_fp32

VALUE_HEAD_FILE = "value_head.safetensors"


class ValueHead(nn.Module):
    """State values from hidden states: `linear`, or `mlp` (d -> 2d -> 1 with ReLU, as trlX has it).

    The output layer is zero, so that every initial value is 0 (Ziegler et al. 2019). The hidden layer is not: it must
    break the symmetry. Values are computed in fp32, whatever the trunk computes in.
    """

    def __init__(self, hidden_size: int, kind: Literal["mlp", "linear"] = "mlp", seed: int = 0) -> None:
        super().__init__()
        self.hidden_size, self.kind = hidden_size, kind
        self.inner = nn.Linear(hidden_size, 2 * hidden_size) if kind == "mlp" else None
        self.out = nn.Linear(2 * hidden_size if kind == "mlp" else hidden_size, 1)
        with torch.no_grad():
            self.out.weight.zero_()
            self.out.bias.zero_()
            if self.inner is not None:
                bound = hidden_size**-0.5
                self.inner.weight.uniform_(-bound, bound, generator=generator(seed, "value head"))
                self.inner.bias.zero_()

    def forward(self, hidden: Tensor) -> Tensor:
        """Values (B, T) of hidden states (B, T, D)."""
        with torch.autocast(hidden.device.type, enabled=False):
            hidden = at_least_fp32(hidden)
            if self.inner is not None:
                hidden = self.inner(hidden).relu()
            return self.out(hidden).squeeze(-1)

    def save(self, folder: Path) -> None:
        """Write the head beside a model, with what is needed to build it again."""
        facts = json.dumps({"hidden_size": self.hidden_size, "kind": self.kind})
        state = {name: value.detach().cpu().contiguous() for name, value in self.state_dict().items()}
        save_file(state, folder / VALUE_HEAD_FILE, metadata={"value_head": facts})

    @classmethod
    def load(cls, folder: Path) -> ValueHead:
        """Read a head that `save` wrote; ModelError when there is none."""
        path = folder / VALUE_HEAD_FILE
        if not path.is_file():
            raise ModelError(f"{folder} has no value head ({VALUE_HEAD_FILE} is missing)")
        with safe_open(path, framework="pt") as file:
            head = cls(**json.loads(file.metadata()["value_head"]))
            head.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
        return head


def reward_head(hidden_size: int, seed: int, init: Literal["normal", "zero"] = "normal", outputs: int = 1) -> nn.Linear:
    """A new head, scalar or with several outputs: normal with std 1 / sqrt(d + 1) (lm-human-preferences), or zero, so that
    every text starts equal.

    It has no bias: a comparison loss cannot see one, and the reward model's normalisation carries the offset.
    """
    head = nn.Linear(hidden_size, outputs, bias=False)
    with torch.no_grad():
        if init == "zero":
            head.weight.zero_()
        else:
            head.weight.normal_(0.0, (hidden_size + 1) ** -0.5, generator=generator(seed, "reward head"))
    return head
