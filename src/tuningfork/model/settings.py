"""Settings of the model layer: a model made from nothing, and which of its parameters train. No torch here."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from tuningfork.settings import Input, Settings


class ScratchSettings(Settings):
    """A small Llama-style decoder with a byte-level BPE trained on the data."""

    layers: int = Field(default=3, ge=1)
    """number of decoder layers"""
    width: int = Field(default=256, ge=8)
    """size of the hidden states"""
    heads: int = Field(default=4, ge=1)
    """attention heads; they share the width evenly"""
    kv_heads: int | None = Field(default=None, ge=1)
    """heads of keys and values (grouped-query attention); empty means as many as `heads`"""
    feed_forward: int = Field(default=512, ge=8)
    """inner size of the gated feed-forward block"""
    context: int = Field(default=256, ge=8)
    """longest sequence in tokens"""
    vocabulary: int = Field(default=1024, ge=277)
    """size of the vocabulary to aim at: 256 bytes, 21 reserved tokens, the rest merges"""
    tied: bool = False
    """whether the output matrix is the embedding matrix"""
    rope_theta: float = Field(default=10_000.0, gt=0)
    """base of the rotary position frequencies"""
    initializer_range: float = Field(default=0.02, gt=0)
    """standard deviation of the normal distribution that matrices and embeddings start from"""

    @model_validator(mode="after")
    def _check_heads(self) -> ScratchSettings:
        if self.width % self.heads or (self.width // self.heads) % 2:
            raise ValueError(f"width {self.width} must be an even multiple of heads {self.heads}")
        if self.kv_heads is not None and self.heads % self.kv_heads:
            raise ValueError(f"heads {self.heads} must be a multiple of kv_heads {self.kv_heads}")
        return self


class ScratchModel(Settings):
    """`scratch:` in a recipe: the model is made from nothing."""

    scratch: ScratchSettings
    """architecture and vocabulary of the new model"""


ModelSource = ScratchModel | Input
"""What a recipe's `model:` may be: `{scratch: ...}`, a folder, or a hub id."""


class Lora(Settings):
    """Low-rank adapters: the base stays frozen and is the reference when the adapter is off (Hu et al. 2021)."""

    kind: Literal["lora"] = "lora"
    r: int = Field(default=8, ge=1)
    """rank"""
    alpha: float = Field(default=16.0, gt=0)
    """the update is scaled by alpha / r"""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """dropout on the adapter's input; keep 0 for reinforcement learning, or the ratio is noise at step 0"""
    targets: tuple[str, ...] = Field(default=("attention",), min_length=1)
    """`attention` (= q, k, v, o), `mlp`, `all` (both), `head` (the output matrix), single `q` `k` `v` `o`, or module names"""
    last_layers: int | None = Field(default=None, ge=1)
    """adapt only the last this many layers; empty means every layer"""
    tokens: tuple[str, ...] = ()
    """control tokens whose rows in the embedding and output matrices train as well, because the model never saw them;
    tokens that a stage adds are always among them"""


class Unfreeze(Settings):
    """Train the last layers and the final norm; everything before them is frozen."""

    kind: Literal["unfreeze"] = "unfreeze"
    last_layers: int = Field(default=2, ge=1)
    """how many layers, counted from the end, train"""


class Full(Settings):
    """Train every parameter."""

    kind: Literal["full"] = "full"


class Frozen(Settings):
    """Train nothing of the model: only a new head on it, so that one trunk can serve the policy and the reward."""

    kind: Literal["frozen"] = "frozen"


AdapterSettings = Annotated[Lora | Unfreeze | Full, Field(discriminator="kind")]
"""Which parameters train: `{kind: lora, r: 8, last_layers: 2}`, `{kind: unfreeze, last_layers: 2}`, `{kind: full}`."""


class ChatSettings(Settings):
    """How conversations are rendered, in training and afterwards: the saved model keeps the template."""

    template: Literal["own", "chatml"] = "own"
    """`own` is the template that came with the model; `chatml` replaces it and adds the markers it needs"""
    date: str | None = Field(default=None, min_length=1)
    """written wherever the template would write today's date, so that training and use see the same"""
    loss_on: Literal["all", "last"] = "all"
    """the answers of a conversation that are targets"""
