"""Where things are inside any decoder: its layers, its projections by their common names, its dropout."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from tuningfork.errors import ModelError

_PROJECTIONS = {
    "q": ("q_proj", "query", "wq", "q"),
    "k": ("k_proj", "key", "wk", "k"),
    "v": ("v_proj", "value", "wv", "v"),
    "o": ("o_proj", "out_proj", "c_proj", "dense", "wo", "o"),
}
_FUSED = ("c_attn", "query_key_value", "qkv_proj", "Wqkv", "qkv")
"""One matrix that makes queries, keys and values together (GPT-2, GPT-NeoX, Phi-3, MPT ...)."""
HEAD = "head"
"""The target that means the output matrix. A narrow model needs it: behind the final norm its logits saturate."""


def decoder_layers(model: nn.Module) -> tuple[str, nn.ModuleList]:
    """Name and list of the repeated layers of `model`, e.g. `model.decoder.layers` for OPT."""
    config: Any = model.config
    count = config.get_text_config(decoder=True).num_hidden_layers
    for name, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) == count and len({type(layer) for layer in module}) == 1:
            return name, module
    raise ModelError(f"{type(model).__name__} has no list of {count} equal layers; adapters and unfreezing need one")


def chosen_layers(model: nn.Module, last_layers: int | None) -> range:
    """Indices of the last `last_layers` layers, or of all."""
    count = len(decoder_layers(model)[1])
    if last_layers is not None and last_layers > count:
        raise ModelError(f"last_layers is {last_layers}, but the model has only {count} layers")
    return range(count - (last_layers or count), count)


@dataclass(frozen=True)
class Targets:
    """Full names of the modules to adapt, and what the user should know about the choice."""

    modules: tuple[str, ...]
    notes: tuple[str, ...]


def find_targets(model: nn.Module, targets: Sequence[str], last_layers: int | None) -> Targets:
    """Resolve friendly names (`attention`, `mlp`, `all`, `q` ...) or module names in the chosen layers.

    ModelError with a suggestion when a name matches nothing: an adapter that hits nothing would train nothing.
    """
    prefix, layers = decoder_layers(model)
    modules: list[str] = [_output_matrix(model)] if HEAD in targets else []
    targets = [target for target in targets if target != HEAD]
    notes: list[str] = []
    for index in chosen_layers(model, last_layers):
        inner = [name for name, _ in _linear_modules(layers[index])]
        wanted = {name for target in targets for name in _matches(target, inner)}
        modules += [f"{prefix}.{index}.{name}" for name in inner if name in wanted]
        notes += _fused_note(targets, inner)
    return Targets(tuple(modules), tuple(dict.fromkeys(notes)))


def _output_matrix(model: nn.Module) -> str:
    """Name of the matrix that makes logits; ModelError where it is the embedding matrix too."""
    output, embeddings = model.get_output_embeddings(), model.get_input_embeddings()  # type: ignore[operator]
    if output is None or output.weight is embeddings.weight:
        raise ModelError(
            f"adapter target {HEAD}: the output matrix of this {type(model).__name__} is its embedding matrix, so an "
            "adapter on one could not be merged; leave it out"
        )
    return next(name for name, module in model.named_modules() if module is output)


def _linear_modules(layer: nn.Module) -> Iterator[tuple[str, Any]]:
    """Matrices of one layer; GPT-2's transposed `Conv1D` counts, the insides of an adapter do not."""
    from peft.tuners.tuners_utils import BaseTunerLayer
    from transformers.pytorch_utils import Conv1D

    skip: tuple[str, ...] = ()
    for name, module in layer.named_modules():
        if skip and name.startswith(skip):
            continue
        if isinstance(module, BaseTunerLayer):
            skip += (f"{name}.",)
            yield name, module
        elif isinstance(module, nn.Linear | Conv1D):
            yield name, module


def _matches(target: str, inner: Sequence[str]) -> list[str]:
    attention = [name for name in inner if _is_attention(name)]
    if target == "all":
        found = list(inner)
    elif target == "attention":
        found = [name for kind in _PROJECTIONS for name in _matches(kind, inner)]
    elif target == "mlp":
        found = [name for name in inner if name not in attention]
    elif target in _PROJECTIONS:
        leaves = _PROJECTIONS[target] + (_FUSED if target != "o" else ())
        found = [name for name in attention if name.rpartition(".")[2] in leaves]
    else:
        found = [name for name in inner if name == target or name.endswith(f".{target}")]
    if not found:
        names = sorted({name.rpartition(".")[2] for name in inner} | {*_PROJECTIONS, "attention", "mlp", "all", HEAD})
        close = difflib.get_close_matches(target, names, n=1)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(names)}"
        raise ModelError(f"adapter target {target} matches no matrix of this model; {hint}")
    return found


def _is_attention(name: str) -> bool:
    return any("attn" in part or "attention" in part for part in name.split(".")[:-1])


def _fused_note(targets: Sequence[str], inner: Sequence[str]) -> list[str]:
    asked = {"q", "k", "v"} & set(targets)
    fused = [name for name in inner if _is_attention(name) and name.rpartition(".")[2] in _FUSED]
    if not fused or not asked or asked == {"q", "k", "v"} or {"attention", "all"} & set(targets):
        return []
    names = ", ".join(sorted(asked))
    return [f"queries, keys and values are one matrix here ({fused[0]}): the adapter on {names} covers all three"]


def final_norm(model: nn.Module) -> nn.Module | None:
    """The norm behind the last layer: the sibling of the layers whose name holds `norm` or `ln_`."""
    prefix, _ = decoder_layers(model)
    parent = model.get_submodule(prefix.rpartition(".")[0])
    norms = [child for name, child in parent.named_children() if "norm" in name or name.startswith("ln_")]
    return norms[-1] if norms else None


def disable_dropout(model: nn.Module) -> None:
    """Set every dropout rate to 0, in the modules and in the config, layer dropping included.

    Attention layers keep their rate as a plain number beside the modules, so turning `nn.Dropout` off is not enough.
    """
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        for name, value in vars(module).items():
            if "drop" in name and isinstance(value, float):
                setattr(module, name, 0.0)
    config: Any = model.config
    for name, value in config.to_dict().items():
        if "drop" in name and isinstance(value, float):
            setattr(config, name, 0.0)


def grow_embeddings(model: Any, size: int) -> None:
    """Grow the embedding and output matrices; a new row is the mean of the old ones, without any random draw."""
    old = model.get_input_embeddings().weight.shape[0]
    model.resize_token_embeddings(size, mean_resizing=False)
    with torch.no_grad():
        for module in (model.get_input_embeddings(), model.get_output_embeddings()):
            if module is not None:
                module.weight[old:] = module.weight[:old].mean(0)
