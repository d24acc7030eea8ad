"""Pairs of ragged responses for tests of preference methods, down to the log-probability of each token.

A test file writes its method's loss of one pair in plain floats; what holds for every method is here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from checks import Rows, close, close_rows, differentiate, gradient, mask_of, padded, ragged, unpadded
from torch import Tensor

from tuningfork.batch import PairLogprobs
from tuningfork.methods.preference import PreferenceMethod

CHOSEN, REJECTED = [3, 1, 5, 2], [2, 4, 1, 6]
LENGTHS = CHOSEN + REJECTED
MASK = mask_of(LENGTHS)


def negative(seed: int) -> Rows:
    return [[-abs(x) - 0.05 for x in row] for row in ragged(seed, LENGTHS)]


POLICY, REFERENCE = negative(21), negative(22)
"""Token log-probabilities: four chosen responses, then the four rejected ones."""


@dataclass(frozen=True)
class Pair:
    """One pair in plain floats: sums under policy (p) and reference (r), and lengths."""

    p_chosen: float
    p_rejected: float
    r_chosen: float
    r_rejected: float
    chosen: int
    rejected: int

    @property
    def h(self) -> float:
        return (self.p_chosen - self.r_chosen) - (self.p_rejected - self.r_rejected)


Scalar = Callable[[Pair], float]


def scalar_pairs(policy: Rows) -> list[Pair]:
    p, r = [sum(row) for row in policy], [sum(row) for row in REFERENCE]
    return [Pair(p[i], p[i + 4], r[i], r[i + 4], CHOSEN[i], REJECTED[i]) for i in range(4)]


def pairs(policy: Tensor | None = None, *, reference: bool = True) -> PairLogprobs:
    """The pairs as the stream makes them: sums of masked token log-probabilities (8, T)."""
    policy = padded(POLICY) if policy is None else policy
    sums = policy.masked_fill(~MASK, 0.0).sum(-1)
    ref = padded(REFERENCE, 0.0).sum(-1)
    lengths = torch.tensor(LENGTHS)
    return PairLogprobs(
        chosen=sums[:4],
        rejected=sums[4:],
        chosen_lengths=lengths[:4],
        rejected_lengths=lengths[4:],
        ref_chosen=ref[:4] if reference else None,
        ref_rejected=ref[4:] if reference else None,
    )


def one_pair(h: float = 0.0, p_rejected: float = -2.0, lengths: tuple[int, int] = (1, 1)) -> PairLogprobs:
    """A pair with this log-ratio difference under a reference of -1 each."""
    values = {"chosen": p_rejected + h, "rejected": p_rejected, "ref_chosen": -1.0, "ref_rejected": -1.0}
    tensors = {name: torch.tensor([value], dtype=torch.float64) for name, value in values.items()}
    return PairLogprobs(
        **tensors, chosen_lengths=torch.tensor([lengths[0]]), rejected_lengths=torch.tensor([lengths[1]])
    )


def check_loss(method: PreferenceMethod, settings: Any, scalar: Scalar) -> None:
    """Losses and the gradient at each token equal those of plain loops."""
    losses, _ = method.loss(pairs(), settings)
    close(losses, [scalar(pair) for pair in scalar_pairs(POLICY)])
    slopes = gradient(lambda x: method.loss(pairs(x), settings)[0].mean(), padded(POLICY))
    expected = differentiate(lambda rows: sum(map(scalar, scalar_pairs(rows))) / 4, POLICY)
    close_rows(unpadded(slopes, MASK), expected)
    assert any(slope != 0 for row in expected for slope in row)


def check_invariances(method: PreferenceMethod, settings: Any) -> None:
    """Order and cuts change nothing; the reference and what is fixed carry no gradient."""
    whole = gradient(lambda x: method.loss(pairs(x), settings)[0].mean(), padded(POLICY))
    for cuts in ([4], [1, 3], [1, 1, 1, 1]):

        def split(x: Tensor, cuts: list[int] = cuts) -> Tensor:
            total, start = torch.zeros((), dtype=torch.float64), 0
            for size in cuts:
                part = pairs(x).slice(slice(start, start + size))
                total, start = total + method.loss(part, settings)[0].sum() / 4, start + size
            return total

        close(gradient(split, padded(POLICY)), whole, 1e-12)
    order: Any = torch.tensor([2, 0, 3, 1])
    close(method.loss(pairs().slice(order), settings)[0], method.loss(pairs(), settings)[0][order], 1e-12)
    live = {
        name: getattr(pairs(), name).clone().requires_grad_()
        for name in ("chosen", "rejected", "ref_chosen", "ref_rejected")
    }
    losses, metrics = method.loss(replace(pairs(), **live), settings)
    losses.sum().backward()
    assert live["chosen"].grad is not None and live["ref_chosen"].grad is None and live["ref_rejected"].grad is None
    assert all(metric.shape == losses.shape and not metric.requires_grad for metric in metrics.values())


def check_direction(method: PreferenceMethod, settings: Any, of: PairLogprobs | None = None) -> None:
    """A step down the gradient raises the chosen responses and lowers the rejected ones."""
    of = pairs() if of is None else of
    live = {name: getattr(of, name).clone().requires_grad_() for name in ("chosen", "rejected")}
    method.loss(replace(of, **live), settings)[0].sum().backward()
    assert bool((live["chosen"].grad < 0).all()) and bool((live["rejected"].grad > 0).all())  # type: ignore[operator]


def check_accuracy(method: PreferenceMethod, settings: Any) -> None:
    """Ahead counts 1, behind 0, level a half."""
    found = [float(method.loss(one_pair(h), settings)[1]["accuracy"]) for h in (0.5, 0.0, -0.5)]
    assert found == [1.0, 0.5, 0.0]


def check_finite(method: PreferenceMethod, settings: Any) -> None:
    """Losses and gradients stay finite however far apart the two are."""
    for h in (1e4, -1e4):
        of = one_pair(h)
        slopes = gradient(lambda x, of=of: method.loss(replace(of, chosen=x), settings)[0].sum(), of.chosen)
        assert bool(method.loss(of, settings)[0].isfinite().all()) and bool(slopes.isfinite().all())


def check_reference_is_asked_for(method: PreferenceMethod, settings: Any) -> None:
    for missing in ("ref_chosen", "ref_rejected"):
        try:
            method.loss(replace(pairs(), **{missing: None}), settings)
        except AssertionError as error:
            assert "reference" in str(error)
        else:
            raise AssertionError(f"{missing} was not asked for")


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def logsig(x: float) -> float:
    return math.log(sigmoid(x))
