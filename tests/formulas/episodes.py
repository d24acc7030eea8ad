"""Responses for tests of policy methods: ragged, in groups of unequal size and mixed order, one of them unscorable.

A test file writes its method's advantages and loss as plain loops over lists; what holds for every method is here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from checks import Rows, close, close_rows, differentiate, gradient, mask_of, padded, ragged, unpadded
from torch import Tensor

from tuningfork.batch import Experience, PolicyBatch
from tuningfork.methods.average import average_weights
from tuningfork.methods.policy import PolicyMethod

LENGTHS = [4, 1, 6, 3, 2, 5, 3, 2]
GROUPS = [7, 3, 7, 3, 5, 7, 5, 3]
"""Group 7: rows 0, 2, 5; group 3: rows 1, 3, 7; group 5: rows 4, 6."""
SCORES = [1.0, -0.5, 2.0, 0.25, 1.5, -1.0, 0.5, 0.75]
UNSCORED = 3
MAX_LENGTH = 8
BETA = 0.1
MASK = mask_of(LENGTHS)
DATA = {
    name: ragged(seed, LENGTHS, 0.5) for seed, name in enumerate(["old", "ref", "values", "new", "critic", "entropy"])
}


def is_scored(row: int) -> bool:
    return row != UNSCORED


def members(row: int) -> list[int]:
    """Rows of the group of `row` that count, itself included."""
    return [other for other in range(len(LENGTHS)) if GROUPS[other] == GROUPS[row] and is_scored(other)]


def scalar_rewards(kl_in: str) -> Rows:
    """Rewards by token: the score on the last one, less beta k1 on each where KL is in the reward; [] if unscored."""
    rewards = []
    for row, score in enumerate(SCORES):
        price = BETA if kl_in == "reward" else 0.0
        pairs = zip(DATA["old"][row], DATA["ref"][row], strict=True)
        reward = [-price * (old - ref) for old, ref in pairs]
        reward[-1] += score
        rewards.append(reward if is_scored(row) else [])
    return rewards


def on_tokens(values: Sequence[float]) -> Rows:
    """One number for each response on all of its tokens; none for the unscored one."""
    return [[value] * LENGTHS[row] if is_scored(row) else [] for row, value in enumerate(values)]


def standardised(rewards: Sequence[float], *, unbiased: bool = True) -> list[float]:
    """Each reward less the mean of its group, over the group's deviation + 1e-4."""
    found = []
    for row, reward in enumerate(rewards):
        group = [rewards[other] for other in members(row)] if is_scored(row) else [reward]
        mean = sum(group) / len(group)
        squares = sum((other - mean) ** 2 for other in group)
        deviation = math.sqrt(squares / max(1, len(group) - (1 if unbiased else 0)))
        found.append((reward - mean) / (deviation + 1e-4))
    return found


def scored_mask(width: int = 0) -> Tensor:
    mask = mask_of(LENGTHS, width)
    mask[UNSCORED] = False
    return mask


def experience(fill: float = math.nan, width: int = 0, beta: float = BETA) -> Experience:
    old, ref, values = (padded(DATA[name], fill, width) for name in ("old", "ref", "values"))
    return Experience(
        scores=torch.tensor(SCORES, dtype=torch.float64),
        old_logprobs=old,
        ref_logprobs=ref,
        values=values,
        mask=scored_mask(width),
        groups=torch.tensor(GROUPS),
        baselines=torch.tensor(SCORES, dtype=torch.float64).flip(0),
        max_length=MAX_LENGTH,
        kl_coefficient=beta,
    )


def batch(method: PolicyMethod, settings: Any, fill: float = math.nan, width: int = 0) -> PolicyBatch:
    """What the loss sees some updates later, `fill` wherever nothing belongs."""
    estimate, _ = method.advantages(experience(fill, width), settings)
    named = {name: padded(rows, fill, width) for name, rows in DATA.items()}
    mask = scored_mask(width)
    length = MAX_LENGTH if method.average == "constant" else None
    return PolicyBatch(
        logprobs=named["new"],
        old_logprobs=named["old"],
        advantages=estimate.advantages.masked_fill(~mask, fill),
        returns=estimate.returns,
        values=named["critic"],
        old_values=named["values"],
        ref_logprobs=named["ref"],
        entropy=named["entropy"],
        mask=mask,
        weights=average_weights(mask.double(), method.average, length),
        kl_coefficient=BETA,
    )


def loss(method: PolicyMethod, of: PolicyBatch, settings: Any) -> Tensor:
    losses, _ = method.token_loss(of, settings)
    return (losses * of.weights).sum()


def scalar_terms(row: int, t: int, values: dict[str, Rows], settings: Any) -> float:
    """Entropy bonus and KL in the loss of one token."""
    total = -settings.entropy_coefficient * values["entropy"][row][t]
    d = values["logprobs"][row][t] - DATA["ref"][row][t]
    if settings.kl_estimator is not None:
        total += BETA * (d * d / 2 if settings.kl_estimator == "k2" else math.exp(-d) - 1 + d)
    return total


def scalar_average(token_losses: Rows, average: str) -> float:
    """The average of losses by token, over what is scored, written out."""
    rows = [row for index, row in enumerate(token_losses) if is_scored(index)]
    if average == "token_mean":
        return sum(map(sum, rows)) / sum(map(len, rows))
    if average == "sequence_mean":
        return sum(sum(row) / len(row) for row in rows) / len(rows)
    total = sum(map(sum, rows)) / len(rows)
    return total if average == "sequence_sum" else total / MAX_LENGTH


def check_advantages(method: PolicyMethod, settings: Any, expected: Rows) -> dict[str, float]:
    """Advantages equal the lists whatever stands in the padding; returns the metrics."""
    metrics: dict[str, float] = {}
    for fill in (math.nan, 1e6):
        estimate, metrics = method.advantages(experience(fill, 9), settings)
        assert not estimate.advantages.requires_grad
        close_rows(unpadded(estimate.advantages, scored_mask(9)), expected)
    return metrics


def check_loss(
    method: PolicyMethod,
    settings: Any,
    scalar: Callable[[dict[str, Rows], Rows], Rows],
    inputs: Sequence[str] = ("logprobs",),
) -> None:
    """Value and gradient of the loss equal those of `scalar(values, advantages)`, which gives losses by token."""
    of = batch(method, settings)
    signals = unpadded(of.zero_padding().advantages, MASK)
    sources = {"logprobs": "new", "values": "critic", "entropy": "entropy"}
    plain = {name: DATA[source] for name, source in sources.items()}

    def total(values: dict[str, Rows]) -> float:
        return scalar_average(scalar(values, signals), method.average)

    close(loss(method, of, settings), total(plain))
    for name in inputs:
        slopes = gradient(lambda x, field=name: loss(method, replace(of, **{field: x}), settings), padded(plain[name]))
        expected = differentiate(lambda rows, field=name: total(plain | {field: rows}), plain[name])
        close_rows(unpadded(slopes, MASK), expected)


def check_invariances(method: PolicyMethod, settings: Any) -> None:
    """Padding, the order of responses and the cut into micro-batches change neither the loss nor its gradient."""
    of = batch(method, settings)
    value, slopes = loss(method, of, settings), gradient_of(method, of, settings)
    assert bool((slopes[~scored_mask()] == 0).all()) and bool((slopes != 0).any())
    for fill, width in ((0.0, 0), (1e6, 0), (-1e6, 12), (math.inf, 12)):
        other = batch(method, settings, fill, width)
        close(loss(method, other, settings), value, 1e-12)
        close_rows(
            unpadded(gradient_of(method, other, settings), mask_of(LENGTHS, width)), unpadded(slopes, MASK), 1e-12
        )
    for cuts in ([8], [1, 3, 4], [1] * 8):
        total, start = torch.zeros_like(slopes), 0
        for size in cuts:
            part = of.slice(slice(start, start + size))
            total[start : start + size] = gradient_of(method, part, settings)
            start += size
        close(total, slopes, 1e-12)
    order = torch.tensor([3, 7, 0, 5, 1, 6, 2, 4])
    moved = _rows(experience(), order)
    estimate, _ = method.advantages(moved, settings)
    close(estimate.advantages, method.advantages(experience(), settings)[0].advantages[order], 1e-12)
    close(gradient_of(method, _rows(of, order), settings), slopes[order], 1e-12)


def _rows(batch: Any, order: Tensor) -> Any:
    return batch.slice(order)


def gradient_of(method: PolicyMethod, of: PolicyBatch, settings: Any) -> Tensor:
    return gradient(lambda x: loss(method, replace(of, logprobs=x), settings), of.logprobs)


def check_direction(method: PolicyMethod, settings: Any) -> None:
    """Where nothing was updated yet, a step down the gradient raises what was better than expected, token by token."""
    of = replace(batch(method, settings), old_logprobs=padded(DATA["new"]))
    step = -gradient_of(method, of, settings)
    mask = scored_mask()
    assert bool((of.advantages[mask] != 0).any())
    assert bool((step[mask].sign() == of.advantages[mask].sign()).all())


def check_metrics(method: PolicyMethod, settings: Any, names: set[str]) -> None:
    """The metrics have these names, the losses' shape, and no gradient; the losses have one."""
    of = batch(method, settings)
    live = {name: value.requires_grad_() for name, value in fields_with_gradient(of).items()}
    losses, metrics = method.token_loss(replace(of, **live), settings)
    assert losses.requires_grad and metrics.keys() == names
    assert all(metric.shape == losses.shape and not metric.requires_grad for metric in metrics.values())
    estimate, _ = method.advantages(experience(), settings)
    assert not estimate.advantages.requires_grad


def fields_with_gradient(of: PolicyBatch) -> dict[str, Tensor]:
    assert of.values is not None and of.entropy is not None
    return {"logprobs": of.logprobs.clone(), "values": of.values.clone(), "entropy": of.entropy.clone()}


RATIO = {"policy_loss", "ratio_mean", "ratio_max", "approx_kl", "entropy"}
"""Metrics of every policy loss where the entropy is known."""
GROUP = RATIO | {"clip_fraction", "clip_fraction_high", "clip_fraction_low"}
"""Metrics of a clipped loss of group advantages."""
