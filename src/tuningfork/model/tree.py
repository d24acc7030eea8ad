"""The parameters of a model as text: names, shapes, what trains, and the share that trains."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class ParameterCounts:
    """Numbers of parameters, added ones included, tied ones counted once."""

    trainable: int
    total: int

    def __str__(self) -> str:
        return f"trainable {self.trainable:,} of {self.total:,} parameters, {self.trainable / self.total:.4%}"


def count_parameters(*modules: nn.Module) -> ParameterCounts:
    """Trainable and total parameters of modules that may share some."""
    parameters = {id(parameter): parameter for module in modules for parameter in module.parameters()}.values()
    return ParameterCounts(
        sum(parameter.numel() for parameter in parameters if parameter.requires_grad),
        sum(parameter.numel() for parameter in parameters),
    )


def parameter_tree(model: nn.Module, **heads: nn.Module) -> str:
    """One line a parameter, runs of equal layers folded into one (`layers.0-21`), the counts as the last line.

    A `*` marks what trains. Extra modules are listed under their keyword.
    """
    lines = _module_lines(model)
    every = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    tied = every - {name for name, _ in model.named_parameters()}
    lines = [(path, f"{text}  tied" if path in tied else text) for path, text in lines]
    for name, head in heads.items():
        lines += [(f"{name}.{path}", text) for path, text in _module_lines(head)]
    width = max(len(path) for path, _ in lines)
    body = [f"{path:<{width}}  {text}".rstrip() for path, text in lines]
    return "\n".join([*body, str(count_parameters(model, *heads.values()))])


def _module_lines(module: nn.Module, prefix: str = "") -> list[tuple[str, str]]:
    lines = [(prefix + name, _describe(parameter)) for name, parameter in module.named_parameters(recurse=False)]
    children = list(module.named_children())
    if isinstance(module, nn.ModuleList):
        children = _folded(children)
    for name, child in children:
        lines += _module_lines(child, f"{prefix}{name}.")
    return lines


def _folded(children: Iterable[tuple[str, nn.Module]]) -> list[tuple[str, nn.Module]]:
    """Neighbours with equal inner lines become one entry named `first-last`."""
    runs: list[tuple[str, str, nn.Module, list[tuple[str, str]]]] = []
    for name, child in children:
        lines = _module_lines(child)
        if runs and runs[-1][3] == lines:
            first, _, kept, _ = runs[-1]
            runs[-1] = (first, name, kept, lines)
        else:
            runs.append((name, name, child, lines))
    return [(first if first == last else f"{first}-{last}", child) for first, last, child, _ in runs]


def _describe(parameter: nn.Parameter) -> str:
    shape = " x ".join(f"{size:,}" for size in parameter.shape)
    return f"{shape}  *" if parameter.requires_grad else shape
