"""Atomic checkpoints of a training loop: trainable tensors, optimizer state and plain state, in safetensors and JSON.

A checkpoint is complete when `complete.json`, written last, names every file's hash. A reader takes the newest complete
one whose hashes hold, so a crash while writing, or a damaged file, costs one checkpoint and not the run.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

_KEPT = 2


@dataclass(frozen=True)
class Checkpoint:
    """What was saved after `step` optimizer steps."""

    step: int
    tensors: dict[str, Tensor]
    state: dict[str, Any]


def save_checkpoint(folder: Path, step: int, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> Path:
    """Write checkpoint `step` below `folder` and drop all but the newest two."""
    target, temporary = folder / f"step-{step:08d}", folder / f".step-{step:08d}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    hashes = {
        "tensors.safetensors": _write(temporary / "tensors.safetensors", save(_contiguous(tensors))),
        "state.json": _write(temporary / "state.json", json.dumps({"step": step, **state}).encode()),
    }
    _write(temporary / "complete.json", json.dumps({"version": 1, "sha256": hashes}).encode())
    shutil.rmtree(target, ignore_errors=True)
    os.replace(temporary, target)
    _sync_folder(folder)
    for old in sorted(folder.glob("step-*"))[:-_KEPT]:
        shutil.rmtree(old)
    return target


def load_checkpoint(folder: Path) -> Checkpoint | None:
    """The newest complete checkpoint below `folder`, or None."""
    for path in sorted(folder.glob("step-*"), reverse=True):
        if _is_complete(path):
            state = json.loads((path / "state.json").read_text())
            return Checkpoint(state.pop("step"), load_file(path / "tensors.safetensors"), state)
    return None


def trainable_tensors(modules: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """The parameters that training changes, by module and name."""
    return {
        f"{module_name}/{name}": parameter.detach()
        for module_name, module in modules.items()
        for name, parameter in module.named_parameters()
        if parameter.requires_grad
    }


def restore_tensors(modules: Mapping[str, nn.Module], tensors: Mapping[str, Tensor]) -> None:
    """Copy saved parameters back; every trainable parameter must be there."""
    with torch.no_grad():
        for name, parameter in trainable_tensors(modules).items():
            parameter.copy_(tensors[name])


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's state as named tensors; parameters are numbered in group order."""
    state = optimizer.state_dict()["state"]
    return {
        f"optimizer/{index}/{key}": torch.as_tensor(value)
        for index, entries in state.items()
        for key, value in entries.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Load what `optimizer_tensors` gave."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("optimizer/"):
            _, index, key = name.split("/")
            state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _contiguous(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}


def _write(path: Path, content: bytes) -> str:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return hashlib.sha256(content).hexdigest()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_complete(path: Path) -> bool:
    marker = path / "complete.json"
    if not marker.is_file():
        return False
    try:
        expected = json.loads(marker.read_text())["sha256"]
        return all(
            hashlib.sha256((path / name).read_bytes()).hexdigest() == digest for name, digest in expected.items()
        )
    except (OSError, ValueError, KeyError):
        return False
