"""What a comparison with trl is: the same inputs, two losses and gradients, and the convention between them, if any."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

GOLDEN = Path(__file__).with_name("golden")
TOLERANCE = 1e-5
"""Largest difference that counts as agreement, in itself and as a share of the largest number compared."""

Verdict = Literal["agrees", "agrees, as set", "convention"]


@dataclass(frozen=True)
class Measured:
    """Numbers beside those of trl, by what they are (loss, gradient, advantages ...); and this project's own loss.

    `pairs` has what should be equal, after the convention that a comparison names was taken on; `own` is the loss without
    it, by optimizer step as the trl's in `pairs["loss"]`.
    """

    pairs: dict[str, tuple[Tensor, Tensor]]
    own: Tensor

    @property
    def absolute(self) -> float:
        """Largest difference of any two numbers."""
        return max(self.difference(name) for name in self.pairs)

    @property
    def relative(self) -> float:
        """Largest difference as a share of the largest number of its kind."""
        return max(self.difference(name) / float(theirs.abs().max()) for name, (_, theirs) in self.pairs.items())

    def difference(self, name: str) -> float:
        ours, theirs = self.pairs[name]
        assert ours.shape == theirs.shape, f"{name}: {tuple(ours.shape)} is not {tuple(theirs.shape)}"
        off = float((ours - theirs).abs().max())
        return off if off == off else math.inf

    @property
    def theirs(self) -> Tensor:
        """trl's loss, by optimizer step."""
        return self.pairs["loss"][1]

    @property
    def apart(self) -> float:
        """How far this project's own loss is from trl's."""
        return float((self.own - self.theirs).abs().max())


@dataclass(frozen=True)
class Comparison:
    """One row of docs/parity.md."""

    name: str
    method: str
    trl: str
    """what was called, and how it was set"""
    here: str
    """settings here"""
    verdict: Verdict
    measure: Callable[[], Measured]
    convention: str = ""
    """what differs, and with what the two losses are equal"""


@functools.cache
def golden(name: str) -> dict[str, Any]:
    """The cases of one file of golden values."""
    return json.loads((GOLDEN / f"{name}.json").read_text())["cases"]


def versions() -> dict[str, str]:
    """What the golden values were made with."""
    return json.loads((GOLDEN / "pairs.json").read_text())["versions"]


def numbers(values: Any) -> Tensor:
    """A tensor of fp64."""
    return torch.tensor(values, dtype=torch.float64)


def differentiated(values: Tensor, loss_of: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """A loss of some numbers, and its gradient at each of them."""
    values = values.detach().clone().requires_grad_()
    loss = loss_of(values)
    (slopes,) = torch.autograd.grad(loss, values)
    return loss.detach(), slopes
