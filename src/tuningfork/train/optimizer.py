"""AdamW over named modules, and the learning-rate schedule."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import nn

from tuningfork.errors import ModelError
from tuningfork.train.advice import usual_learning_rate
from tuningfork.train.settings import OptimizerSettings


def schedule_factor(step: int, num_steps: int, settings: OptimizerSettings) -> float:
    """Multiple of the peak learning rate at `step` (0-based) of `num_steps`.

    Linear warm-up reaches 1 at the last warm-up step; then cosine or linear decay that reaches `floor` at the last step.
    """
    warmup = settings.warmup if settings.warmup >= 1 else math.ceil(settings.warmup * num_steps)
    if step < warmup:
        return (step + 1) / warmup
    return _decay((step - warmup) / max(1, num_steps - 1 - warmup), settings)


def budget_factor(step: int, spent: float, settings: OptimizerSettings) -> float:
    """The same where a training ends with its budget, of which the share `spent` is gone before `step`.

    A warm-up of 1 or more counts steps, one below 1 is a share of the budget.
    """
    if settings.warmup >= 1:
        return min(1.0, (step + 1) / settings.warmup) * _decay(spent, settings)
    if spent < settings.warmup:
        return spent / settings.warmup
    return _decay((spent - settings.warmup) / max(1e-9, 1 - settings.warmup), settings)


def _decay(share: float, settings: OptimizerSettings) -> float:
    """Factor after `share` of the decay."""
    if settings.schedule == "constant":
        return 1.0
    share = min(1.0, share)
    shape = 0.5 * (1 + math.cos(math.pi * share)) if settings.schedule == "cosine" else 1.0 - share
    return settings.floor + (1 - settings.floor) * shape


def peak_learning_rate(modules: Mapping[str, nn.Module], settings: OptimizerSettings) -> float:
    """The rate that the schedule multiplies: as set, or what is usual for the policy's size and adapter."""
    if settings.learning_rate != "usual":
        return settings.learning_rate
    policy = modules["policy"]
    is_lora = any("lora_" in name for name, _ in policy.named_parameters())
    return usual_learning_rate(sum(p.numel() for p in policy.parameters()), "lora" if is_lora else "full")


def build_optimizer(modules: Mapping[str, nn.Module], settings: OptimizerSettings) -> torch.optim.AdamW:
    """AdamW over the trainable parameters of `modules`; names other than "policy" count as new heads."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    seen: set[int] = set()
    for module_name, module in modules.items():
        embeddings = {id(p) for m in module.modules() if isinstance(m, nn.Embedding) for p in m.parameters()}
        embeddings |= {
            id(p) for name, p in module.named_parameters() if "trainable_tokens_delta" in name
        }  # peft's rows
        for parameter in module.parameters():
            if not parameter.requires_grad or id(parameter) in seen:
                continue
            seen.add(id(parameter))
            is_embedding = id(parameter) in embeddings
            multiplier = settings.embedding_multiplier if is_embedding else 1.0
            multiplier = multiplier if module_name == "policy" else settings.head_multiplier
            decay = 0.0 if is_embedding or parameter.dim() < 2 else settings.weight_decay
            groups.setdefault((multiplier, decay), []).append(parameter)
    if not groups:
        raise ModelError("nothing to train: no parameter requires a gradient; check the adapter's targets")
    return torch.optim.AdamW(
        [
            {"params": parameters, "weight_decay": decay, "multiplier": multiplier}
            for (multiplier, decay), parameters in groups.items()
        ],
        lr=peak_learning_rate(modules, settings),
        betas=settings.betas,
        eps=settings.eps,
        fused=True,
    )


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Set every group's rate to `learning_rate` times the group's multiplier."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate * group["multiplier"]
