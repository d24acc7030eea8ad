"""Sampled responses as trl had them, and the losses that this project's policy methods make of the same."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from comparing import Measured, differentiated, golden, numbers
from torch import Tensor

from tuningfork.batch import Experience, PolicyBatch
from tuningfork.methods.average import average_weights


@dataclass(frozen=True)
class Step:
    """One optimizer step as trl took it, its micro-batches in one: what the loss is made from, and trl's answers."""

    rows: list[int]
    parts: list[int]
    """Responses of each micro-batch."""
    logprobs: Tensor
    entropy: Tensor | None
    advantages: Tensor
    loss: float
    gradient: Tensor
    entropy_gradient: Tensor | None


@dataclass(frozen=True)
class Sampled:
    """All responses of one case, in the order in which they were sampled."""

    case: dict[str, Any]

    @property
    def mask(self) -> Tensor:
        """(N, T), True on tokens of responses, scored or not."""
        lengths = torch.tensor([len(response) for response in self.case["responses"]])
        return torch.arange(int(lengths.max())) < lengths[:, None]

    @property
    def is_scored(self) -> Tensor:
        return torch.tensor([score is not None for score in self.case["scores"]])

    def experience(self) -> Experience:
        ref = self.case["ref_logprobs"]
        return Experience(
            scores=numbers([score or 0.0 for score in self.case["scores"]]),
            old_logprobs=numbers(self.case["old_logprobs"]),
            ref_logprobs=None if ref is None else numbers(ref),
            mask=self.mask & self.is_scored[:, None],
            groups=torch.tensor(self.case["groups"]),
            max_length=self.case["max_length"],
            kl_coefficient=self.case["options"].get("beta", 0.0),
        )

    def steps(self) -> list[Step]:
        return [self._step(step["parts"]) for step in self.case["steps"]]

    def _step(self, parts: list[dict[str, Any]]) -> Step:
        def joined(name: str) -> Tensor | None:
            return torch.cat([numbers(part[name]) for part in parts]) if name in parts[0] else None

        logprobs, advantages, gradient = joined("logprobs"), joined("advantages"), joined("gradient")
        assert logprobs is not None and advantages is not None and gradient is not None
        rows = [row for part in parts for row in part["rows"]]
        return Step(
            rows,
            [len(part["rows"]) for part in parts],
            logprobs,
            joined("entropy"),
            advantages,
            sum(part["loss"] for part in parts),
            gradient.masked_fill(~self.mask[rows], 0.0),
            joined("entropy_gradient"),
        )


SameLoss = Callable[[Sampled, Step, PolicyBatch, Tensor], Tensor]
"""trl's loss of a step from token losses (B, T) of this project: takes its conventions on."""


def measure(name: str, method: Any, settings: Any, same: SameLoss | None = None) -> Measured:
    """Advantages, losses and gradients of every optimizer step beside trl's."""
    sampled = Sampled(golden("policies")[name])
    estimate, _ = method.advantages(sampled.experience(), settings)
    found: dict[str, list[tuple[Tensor, Tensor]]] = {}
    own = []
    for step in sampled.steps():
        loss_of = loss_of_step(method, settings, sampled, step, estimate.advantages)
        for kind, both in _measure_step(step, estimate.advantages, functools.partial(loss_of, same=same)).items():
            found.setdefault(kind, []).append(both)
        own.append(loss_of(step.logprobs, step.entropy, same=None))
    stacked = {
        kind: (torch.stack([a for a, _ in both]), torch.stack([b for _, b in both])) for kind, both in found.items()
    }
    return Measured(stacked, torch.stack(own))


def loss_of_step(method: Any, settings: Any, sampled: Sampled, step: Step, advantages: Tensor) -> Callable[..., Tensor]:
    """A function of log-probabilities and entropy (B, T): the loss of a step, or with `same` the one with its convention."""
    experience = sampled.experience()
    mask, ref = experience.mask[step.rows], experience.ref_logprobs
    length = sampled.case["max_length"] if method.average == "constant" else None
    weights = average_weights(mask.double(), method.average, length)

    def loss(logprobs: Tensor, entropy: Tensor | None, *, same: SameLoss | None) -> Tensor:
        batch = PolicyBatch(
            logprobs=logprobs,
            old_logprobs=experience.old_logprobs[step.rows],
            ref_logprobs=None if ref is None else ref[step.rows],
            advantages=advantages[step.rows],
            entropy=entropy,
            mask=mask,
            weights=weights,
            kl_coefficient=experience.kl_coefficient,
        )
        losses, _ = method.token_loss(batch, settings)
        return (losses * weights).sum() if same is None else same(sampled, step, batch, losses)

    return loss


def _measure_step(
    step: Step, advantages: Tensor, loss_of: Callable[[Tensor, Tensor | None], Tensor]
) -> dict[str, tuple[Tensor, Tensor]]:
    loss, slopes = differentiated(step.logprobs, lambda x: loss_of(x, step.entropy))
    found = {
        "loss": (loss, numbers(step.loss)),
        "gradient": (slopes, step.gradient),
        "advantages": (advantages[step.rows, 0], step.advantages),
    }
    if step.entropy is not None and step.entropy_gradient is not None:
        _, of_entropy = differentiated(step.entropy, lambda x: loss_of(step.logprobs, x))
        found["entropy gradient"] = of_entropy, step.entropy_gradient
    return found
