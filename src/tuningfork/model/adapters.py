"""Choosing what trains: LoRA through peft, the last layers, or everything."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from tuningfork.errors import ModelError
from tuningfork.model.layers import chosen_layers, decoder_layers, final_norm, find_targets
from tuningfork.model.settings import Lora, Unfreeze
from tuningfork.randomness import generator

if TYPE_CHECKING:
    from peft import PeftModel

OWN = "default"
"""Name of the adapter that a stage trains; peft gives this name the plain file layout."""


def add_lora(model: Any, settings: Lora, seed: int, token_ids: Sequence[int] = ()) -> tuple[PeftModel, tuple[str, ...]]:
    """Put a fresh LoRA into `model`, in place; returns peft's handle and notes for the user.

    A is Kaiming-uniform from a stream keyed by (seed, name), B is zero: the output is that of the base, to the bit. The
    embedding and output rows of `token_ids` train whole: a low-rank change of other matrices cannot teach a new token.
    """
    from peft import LoraConfig, get_peft_model
    from transformers.pytorch_utils import Conv1D

    targets = find_targets(model, settings.targets, settings.last_layers)
    transposed = {isinstance(model.get_submodule(name), Conv1D) for name in targets.modules}
    if len(transposed) > 1:
        raise ModelError("the adapter's targets mix transposed (Conv1D) and plain matrices; name one kind")
    config = LoraConfig(
        r=settings.r,
        lora_alpha=settings.alpha,  # type: ignore[arg-type]  # peft takes any number
        lora_dropout=settings.dropout,
        target_modules=list(targets.modules),
        fan_in_fan_out=transposed.pop(),
        bias="none",
        task_type="CAUSAL_LM",
        trainable_token_indices=_token_rows(model, token_ids, targets.modules) if token_ids else None,
    )
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # peft asks transformers for a name that it is about to rename
        peft_model = get_peft_model(model, config, adapter_name=OWN)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if f".lora_A.{OWN}." in name and not parameter.is_meta:
                source = generator(seed, "lora", name)
                values = torch.empty(parameter.shape, dtype=torch.float32)
                nn.init.kaiming_uniform_(values, a=math.sqrt(5), generator=source)
                parameter.copy_(values)
    return peft_model, targets.notes  # type: ignore[return-value]


def _token_rows(model: Any, token_ids: Sequence[int], targets: Sequence[str]) -> dict[str, list[int]]:
    """The matrices with a row for each token, by name; a tied output matrix follows the embeddings."""
    embeddings, output = model.get_input_embeddings(), model.get_output_embeddings()
    matrices = [embeddings] if output is None or output.weight is embeddings.weight else [embeddings, output]
    names = [next(name for name, module in model.named_modules() if module is matrix) for matrix in matrices]
    taken = set(names).intersection(targets)
    if taken:
        raise ModelError(f"the adapter has {taken.pop()} as a target, whose rows of new tokens train; drop that target")
    if output is not None and output.bias is not None:
        raise ModelError(
            f"the output matrix of {type(model).__name__} has a bias, so rows of new tokens cannot train under LoRA; "
            "use {kind: full}"
        )
    return {name: sorted(token_ids) for name in names}


def attach_lora(model: Any, peft_model: PeftModel | None, folder: Path, name: str) -> PeftModel:
    """Add the saved adapter in `folder` to `model` under `name`, frozen and switched off."""
    from peft import PeftModel

    if not (folder / "adapter_config.json").is_file():
        raise ModelError(f"{folder} has no adapter_config.json: not an adapter of peft")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # peft asks transformers for a name that it is about to rename
        if peft_model is None:
            return PeftModel.from_pretrained(model, folder, adapter_name=name, is_trainable=False)
        peft_model.load_adapter(folder, adapter_name=name, is_trainable=False)
    return peft_model


def unfreeze(model: Any, settings: Unfreeze) -> None:
    """Freeze everything but the last layers and the final norm."""
    model.requires_grad_(False)
    _, layers = decoder_layers(model)
    for index in chosen_layers(model, settings.last_layers):
        layers[index].requires_grad_(True)
    norm = final_norm(model)
    if norm is not None:
        norm.requires_grad_(True)


def lora_layers(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """Every module of `model` that peft put an adapter on."""
    from peft.tuners.lora import LoraLayer

    for name, module in model.named_modules():
        if isinstance(module, LoraLayer):
            yield name, module


def token_layers(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """Every module of `model` of which peft trains single rows."""
    from peft.utils.other import TrainableTokensWrapper

    for name, module in model.named_modules():
        if isinstance(module, TrainableTokensWrapper):
            yield name, module


def merged_state(model: nn.Module) -> dict[str, Tensor]:
    """The state of `model` as if its own adapter were part of the weights, under the base's names.

    The live model is not touched: merging in place and back would change its last bits.
    """
    state = model.state_dict()
    for name, layer in lora_layers(model):
        inner = tuple(f"{name}.{part}" for part in (*layer.adapter_layer_names, *layer.other_param_names))
        for key in [key for key in state if key.startswith(inner)]:
            del state[key]
        for key in [key for key in state if key.startswith(f"{name}.base_layer.")]:
            value = state.pop(key)
            if key.endswith(".weight") and OWN in layer.lora_A:
                delta = layer.get_delta_weight(OWN)
                value = (value.float() + delta.float()).to(value.dtype)
            state[key.replace(".base_layer.", ".")] = value.detach()
    return _with_token_rows(model, state)


def _with_token_rows(model: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Trained rows put into their matrices; matrices that are tied stay one tensor."""
    merged: dict[int, Tensor] = {}
    for name, wrapper in token_layers(model):
        layer = wrapper.token_adapter
        for key in [key for key in state if key.startswith(f"{name}.token_adapter.")]:
            value = state.pop(key)
            if ".base_layer." not in key:
                continue
            if value.data_ptr() not in merged:
                rows = torch.tensor(layer.token_indices[OWN], device=value.device)
                delta = layer.trainable_tokens_delta[OWN].detach().to(value)
                merged[value.data_ptr()] = value.detach().index_copy(0, rows, delta)
            state[key.replace(".token_adapter.base_layer.", ".")] = merged[value.data_ptr()]
    return state
