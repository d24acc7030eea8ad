"""What learning rate is usual for a model of some size, by what trains; said before training, and taken where it is asked for.

Full fine-tuning: 2e-5 at 10^9 parameters, the middle of what is published for 1 to 7 billion, times the square root of
10^9 / parameters, within 1e-5 and 1e-3. The published range ends there; the root is a rule of thumb that also fits
the small models of the shipped recipes (1e-3 at 0.6 million, docs/log.md). LoRA: ten times that, at most 2e-3 (10x is
where LoRA matches full training: Schulman et al. 2025, "LoRA Without Regret").
"""

from __future__ import annotations

from typing import Literal

AROUND = 3.0
"""A rate within this factor of the middle is called usual."""


def usual_learning_rate(num_parameters: int, kind: Literal["full", "unfreeze", "lora"]) -> float:
    """The middle of what is usual for supervised fine-tuning of a model with that many parameters in all."""
    full = min(1e-3, max(1e-5, 2e-5 * (1e9 / num_parameters) ** 0.5))
    return min(2e-3, 10 * full) if kind == "lora" else full


def learning_rate_advice(learning_rate: float, num_parameters: int, kind: Literal["full", "unfreeze", "lora"]) -> str:
    """One line: the rate that was chosen and what is usual."""
    middle = usual_learning_rate(num_parameters, kind)
    low, high = middle / AROUND, middle * AROUND
    usual = f"{low:.1g} to {high:.1g} is usual for {kind} training of {num_parameters:,} parameters"
    if learning_rate > high:
        return f"learning rate {learning_rate:g} is HIGH: {usual}; expect forgetting or divergence"
    if learning_rate < low:
        return f"learning rate {learning_rate:g} is LOW: {usual}; expect little to be learnt"
    return f"learning rate {learning_rate:g}: {usual}"
