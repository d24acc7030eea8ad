"""PPO as a whole against one written from the paper in plain floats; its limits, its settings, its metrics."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from checks import Rows, close, close_rows, differentiate, gradient, mask_of, padded, ragged, unpadded
from pydantic import ValidationError
from torch import Tensor

from tuningfork.batch import Experience, Needs, PolicyBatch
from tuningfork.methods.average import average_weights
from tuningfork.methods.policy import load, ppo
from tuningfork.tensors import masked_mean, masked_var, reduce_metrics

LENGTHS = [4, 1, 6, 3]
MASK = mask_of(LENGTHS)
SCORES = [1.0, -0.5, 2.0, 0.25]
DATA = {
    name: ragged(seed, LENGTHS, 0.5) for seed, name in enumerate(["old", "ref", "values", "new", "critic", "entropy"])
}
EVERYTHING = ppo.Settings(
    clip_range=0.3,
    value_clip_range=0.4,
    value_coefficient=0.7,
    entropy_coefficient=0.05,
    kl_in="loss",
    kl_estimator="k3",
)


def experience(fill: float = math.nan, width: int = 0, beta: float = 0.1) -> Experience:
    old, ref, values = (padded(DATA[name], fill, width) for name in ("old", "ref", "values"))
    scores = torch.tensor(SCORES, dtype=torch.float64)
    mask = mask_of(LENGTHS, width)
    return Experience(scores=scores, old_logprobs=old, ref_logprobs=ref, values=values, mask=mask, kl_coefficient=beta)


def batch(fill: float = math.nan, width: int = 0, settings: ppo.Settings = EVERYTHING) -> PolicyBatch:
    estimate, _ = ppo.advantages(experience(fill, width), settings)
    named = {name: padded(rows, fill, width) for name, rows in DATA.items()}
    mask = mask_of(LENGTHS, width)
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
        weights=average_weights(mask.double(), ppo.average),
        kl_coefficient=0.1,
    )


def scalar_advantages(gamma: float, lam: float, beta: float, whiten_rewards: bool) -> tuple[Rows, Rows]:
    """Advantages before whitening, and returns."""
    rewards: Rows = []
    for old, ref, score in zip(DATA["old"], DATA["ref"], SCORES, strict=True):
        row = [-beta * (p - r) for p, r in zip(old, ref, strict=True)]
        row[-1] += score
        rewards.append(row)
    if whiten_rewards:
        numbers = [r for row in rewards for r in row]
        mean = sum(numbers) / len(numbers)
        deviation = math.sqrt(sum((r - mean) ** 2 for r in numbers) / len(numbers) + 1e-8)
        rewards = [[(r - mean) / deviation + mean for r in row] for row in rewards]
    advantages: Rows = []
    returns: Rows = []
    for reward, value in zip(rewards, DATA["values"], strict=True):
        errors = [r + gamma * n - v for r, n, v in zip(reward, [*value[1:], 0.0], value, strict=True)]
        row = [sum((gamma * lam) ** k * e for k, e in enumerate(errors[t:])) for t in range(len(errors))]
        advantages.append(row)
        returns.append([a + v for a, v in zip(row, value, strict=True)])
    return advantages, returns


def scalar_loss(new: Rows, critic: Rows, entropy: Rows, signals: Rows, targets: Rows, settings: ppo.Settings) -> float:
    """Mean over tokens of the clipped surrogate, the clipped value loss, the entropy bonus and k3 or k2."""
    total = 0.0
    for i, length in enumerate(LENGTHS):
        for t in range(length):
            a, ratio, e = signals[i][t], math.exp(new[i][t] - DATA["old"][i][t]), settings.clip_range
            total -= min(a * ratio, a * min(max(ratio, 1 - e), 1 + e))
            value, old_value, e_v = critic[i][t], DATA["values"][i][t], settings.value_clip_range
            worst = (value - targets[i][t]) ** 2
            if e_v is not None:
                worst = max(worst, (min(max(value, old_value - e_v), old_value + e_v) - targets[i][t]) ** 2)
            total += settings.value_coefficient * worst / 2
            total -= settings.entropy_coefficient * entropy[i][t]
            d = new[i][t] - DATA["ref"][i][t]
            if settings.kl_estimator is not None:
                total += 0.1 * (d * d / 2 if settings.kl_estimator == "k2" else math.exp(-d) - 1 + d)
    return total / sum(LENGTHS)


def loss(of: PolicyBatch, settings: ppo.Settings) -> Tensor:
    losses, _ = ppo.token_loss(of, settings)
    return (losses * of.weights).sum()


@pytest.mark.parametrize("kl_in", ["reward", "loss"])
@pytest.mark.parametrize("whiten_rewards", [False, True])
@pytest.mark.parametrize("fill", [math.nan, 1e6])
def test_advantages_match_loops(kl_in: Any, whiten_rewards: bool, fill: float) -> None:
    settings = ppo.Settings(
        gamma=0.9,
        lam=0.8,
        kl_in=kl_in,
        kl_estimator="k3" if kl_in == "loss" else None,
        whiten_rewards=whiten_rewards,
        whiten_advantages=False,
    )
    estimate, metrics = ppo.advantages(experience(fill, 9), settings)
    expected, returns = scalar_advantages(0.9, 0.8, 0.1 if kl_in == "reward" else 0.0, whiten_rewards)
    mask = mask_of(LENGTHS, 9)
    assert estimate.returns is not None
    close_rows(unpadded(estimate.advantages, mask), expected)
    close_rows(unpadded(estimate.returns, mask), returns)
    flat = [x for row in returns for x in row]
    close(metrics["return_mean"], sum(flat) / 14)
    close(metrics["value_mean"], sum(x for row in DATA["values"] for x in row) / 14)
    variance = masked_var(padded(returns), MASK)
    close(metrics["explained_variance"], 1 - masked_var(padded(expected), MASK) / variance)


def test_whitening_advantages_leaves_returns_alone() -> None:
    estimate, _ = ppo.advantages(experience(), ppo.Settings(gamma=0.9, lam=0.8))
    raw, returns = scalar_advantages(0.9, 0.8, 0.1, False)
    numbers = [a for row in raw for a in row]
    mean = sum(numbers) / 14
    deviation = math.sqrt(sum((a - mean) ** 2 for a in numbers) / 14 + 1e-8)
    assert estimate.returns is not None
    close_rows(unpadded(estimate.advantages, MASK), [[(a - mean) / deviation for a in row] for row in raw])
    close_rows(unpadded(estimate.returns, MASK), returns)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"kl_estimator": "k2"},
        {"value_clip_range": None},
        {"entropy_coefficient": 0.0},
        {"kl_in": "reward", "kl_estimator": None},
    ],
)
def test_loss_and_gradients_match_loops(changes: dict[str, Any]) -> None:
    settings = ppo.Settings.model_validate(EVERYTHING.model_dump() | changes)
    of = batch(settings=settings)
    assert of.returns is not None
    signals, targets = unpadded(of.zero_padding().advantages, MASK), unpadded(of.returns, MASK)
    inputs = {"logprobs": "new", "values": "critic", "entropy": "entropy"}
    plain = {name: DATA[source] for name, source in inputs.items()}

    def scalar(values: dict[str, Rows]) -> float:
        return scalar_loss(values["logprobs"], values["values"], values["entropy"], signals, targets, settings)

    close(loss(of, settings), scalar(plain))
    for name in inputs if settings.entropy_coefficient else ("logprobs", "values"):
        slopes = gradient(lambda x, field=name: loss(replace(of, **{field: x}), settings), padded(plain[name]))
        expected = differentiate(lambda rows, field=name: scalar(plain | {field: rows}), plain[name])
        close_rows(unpadded(slopes, MASK), expected)


def test_worked_example() -> None:
    # one token: A = 2, ratio 1.5 clipped to 1.2: -2.4.  V 0.5, old 0, target 1: clipped to 0.2, 0.8^2 / 2 = 0.32
    one = torch.ones(1, 1, dtype=torch.float64)
    of = PolicyBatch(
        logprobs=(1.5 * one).log(),
        old_logprobs=0 * one,
        advantages=2 * one,
        returns=one,
        values=0.5 * one,
        old_values=0 * one,
        mask=one.bool(),
        weights=one,
    )
    losses, metrics = ppo.token_loss(of, ppo.Settings())
    close(losses, [[-2.4 + 0.1 * 0.32]])
    expected = {
        "policy_loss": -2.4,
        "value_loss": 0.32,
        "ratio_mean": 1.5,
        "ratio_max": 1.5,
        "approx_kl": 0.5 - math.log(1.5),
        "clip_fraction": 1.0,
        "value_clip_fraction": 1.0,
    }
    reduced = reduce_metrics([(metrics, of.mask)])
    assert reduced.keys() == expected.keys()
    for name, value in expected.items():
        close(reduced[name], value)


def test_metrics_of_everything() -> None:
    of = batch()
    far = of.logprobs.clone()
    far[0, 0] = 60.0  # the reference is 20 nats and more away
    _, metrics = ppo.token_loss(replace(of, logprobs=far, old_logprobs=far), EVERYTHING)
    assert not any(metric.requires_grad for metric in metrics.values())
    reduced = reduce_metrics([(metrics, MASK)])
    close(reduced["kl_clamp_fraction"], 1 / 14)
    assert of.entropy is not None
    close(reduced["entropy"], masked_mean(of.entropy, MASK))
    close([reduced[name] for name in ("ratio_mean", "ratio_max", "approx_kl", "clip_fraction")], [1.0, 1.0, 0.0, 0.0])


def test_metrics_carry_no_gradient() -> None:
    of = batch()
    assert of.values is not None and of.entropy is not None
    live = {"logprobs": of.logprobs, "values": of.values, "entropy": of.entropy}
    live = {name: tensor.requires_grad_() for name, tensor in live.items()}
    losses, metrics = ppo.token_loss(replace(of, **live), EVERYTHING)
    assert losses.requires_grad and not any(metric.requires_grad for metric in metrics.values())


def test_a_value_inside_its_range_is_not_counted_as_clipped() -> None:
    of = batch()
    _, metrics = ppo.token_loss(replace(of, values=of.old_values), EVERYTHING)
    close(metrics["value_clip_fraction"], torch.zeros_like(MASK))


@pytest.mark.parametrize(("value", "counted"), [(0.5, 1.0), (0.3, 0.0), (-0.5, 0.0)])
def test_a_value_counts_as_clipped_where_the_clipped_error_is_the_larger(value: float, counted: float) -> None:
    # old value 0, range 0.4, target 1: at 0.5 the clipped error is 0.6^2 / 2 = 0.18, its own only 0.5^2 / 2 = 0.125
    of = batch()
    ones = torch.ones_like(MASK, dtype=torch.float64)
    of = replace(of, values=value * ones, old_values=0 * ones, returns=ones)
    close(ppo.token_loss(of, EVERYTHING)[1]["value_clip_fraction"], counted * MASK)


def test_entropy_is_reported_even_where_it_is_not_rewarded() -> None:
    settings = ppo.Settings()
    with_it, without = batch(settings=settings), replace(batch(settings=settings), entropy=None)
    assert "entropy" in ppo.token_loss(with_it, settings)[1]
    assert "entropy" not in ppo.token_loss(without, settings)[1]
    close(loss(with_it, settings), loss(without, settings), 1e-12)


@pytest.mark.parametrize("cuts", [[4], [1, 3], [1, 1, 1, 1]])
def test_micro_batches_give_the_same_gradient(cuts: list[int]) -> None:
    of = batch()

    def split(x: Tensor) -> Tensor:
        total, start = torch.zeros((), dtype=torch.float64), 0
        for size in cuts:
            part = replace(of, logprobs=x).slice(slice(start, start + size))
            total, start = total + loss(part, EVERYTHING), start + size
        return total

    whole = gradient(lambda x: loss(replace(of, logprobs=x), EVERYTHING), of.logprobs)
    close(gradient(split, of.logprobs), whole, 1e-12)


@pytest.mark.parametrize(("fill", "width"), [(0.0, 0), (1e6, 0), (-1e6, 12), (math.inf, 12)])
def test_padding_does_not_matter(fill: float, width: int) -> None:
    plain, other = batch(), batch(fill, width)
    close(loss(other, EVERYTHING), loss(plain, EVERYTHING), 1e-12)
    slopes = gradient(lambda x: loss(replace(other, logprobs=x), EVERYTHING), other.logprobs)
    expected = gradient(lambda x: loss(replace(plain, logprobs=x), EVERYTHING), plain.logprobs)
    close_rows(unpadded(slopes, other.mask), unpadded(expected, MASK), 1e-12)


def test_ratio_one_is_reinforce() -> None:
    """With new = old the gradient is that of -A logprob, averaged over tokens."""
    settings = ppo.Settings(value_coefficient=0.0)
    of = batch(settings=settings)
    slopes = gradient(lambda x: loss(replace(of, logprobs=x), settings), of.old_logprobs)
    close(slopes, -of.zero_padding().advantages / 14)


def test_one_epoch_without_clips_is_a2c() -> None:
    """-A logprob + c_V 1/2 (V - R)^2 - c_H H: Huang et al. 2022 (2205.09123)."""
    settings = ppo.Settings(
        whiten_advantages=False, value_clip_range=None, value_coefficient=0.5, entropy_coefficient=0.01, epochs=1
    )
    of = batch(fill=0.0, settings=settings)
    returns, old_values = of.returns, of.old_values
    assert returns is not None and old_values is not None

    def a2c(field: str, x: Tensor) -> Tensor:
        token = {
            "logprobs": -of.zero_padding().advantages * x,
            "values": 0.5 * 0.5 * (x - returns) ** 2,
            "entropy": -0.01 * x,
        }
        return token[field][MASK].mean()

    starts = {"logprobs": of.old_logprobs, "values": old_values, "entropy": padded(DATA["entropy"], 0.0)}
    now = replace(of, **starts)
    for field, start in starts.items():
        ours = gradient(lambda x, name=field: loss(replace(now, **{name: x}), settings), start)
        close(ours, gradient(lambda x, name=field: a2c(name, x), start), 1e-12)


def test_a_step_down_the_gradient_raises_what_was_better_than_expected() -> None:
    of = replace(batch(), old_logprobs=padded(DATA["new"]))
    settings = ppo.Settings(value_coefficient=0.0)
    step = -gradient(lambda x: loss(replace(of, logprobs=x), settings), of.logprobs)
    assert bool((step[MASK].sign() == of.advantages[MASK].sign()).all())


def test_missing_parts_are_named() -> None:
    with pytest.raises(AssertionError, match="PPO needs values"):
        ppo.advantages(replace(experience(), values=None), ppo.Settings())
    with pytest.raises(AssertionError, match="reference"):
        ppo.advantages(replace(experience(), ref_logprobs=None), ppo.Settings())
    for field in ("values", "old_values", "returns"):
        with pytest.raises(AssertionError, match="values and returns"):
            ppo.token_loss(replace(batch(), **{field: None}), EVERYTHING)
    with pytest.raises(AssertionError, match="entropy"):
        ppo.token_loss(replace(batch(), entropy=None), EVERYTHING)
    with pytest.raises(AssertionError, match="reference"):
        ppo.token_loss(replace(batch(), ref_logprobs=None), EVERYTHING)


def test_needs() -> None:
    assert ppo.needs(ppo.Settings()) == Needs(values=True, reference=True)
    assert ppo.needs(EVERYTHING) == Needs(values=True, reference=True, entropy=True)
    assert ppo.needs(ppo.Settings(entropy_coefficient=0.5)).entropy
    assert not ppo.needs(ppo.Settings(kl_in="none")).reference


def test_without_kl_the_reference_is_not_looked_at() -> None:
    free = ppo.Settings(kl_in="none")
    estimate, _ = ppo.advantages(replace(experience(), ref_logprobs=None), free)
    close(estimate.advantages, ppo.advantages(experience(beta=0.0), ppo.Settings())[0].advantages, 1e-12)


def test_defaults_are_the_published_ones() -> None:
    assert ppo.Settings().model_dump() == {
        "clip_range": 0.2,
        "value_clip_range": 0.2,
        "value_coefficient": 0.1,
        "gamma": 1.0,
        "lam": 0.95,
        "epochs": 4,
        "whiten_rewards": False,
        "whiten_advantages": True,
        "entropy_coefficient": 0.0,
        "kl_in": "reward",
        "kl_estimator": None,
        "target_kl": None,
    }
    assert load("ppo").average == "token_mean"


@pytest.mark.parametrize(
    "values",
    [
        {"clip_range": 0.0},
        {"clip_range": 1.0},
        {"value_clip_range": 0.0},
        {"value_coefficient": -0.1},
        {"gamma": 0.0},
        {"gamma": 1.01},
        {"lam": -0.01},
        {"lam": 1.01},
        {"epochs": 0},
        {"entropy_coefficient": -0.1},
        {"target_kl": 0.0},
        {"kl_in": "loss"},
        {"kl_estimator": "k3"},
        {"kl_in": "loss", "kl_estimator": "k1"},
    ],
)
def test_settings_refuse_what_makes_no_sense(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ppo.Settings.model_validate(values)


def test_extreme_settings_are_allowed() -> None:
    for values in (
        {"clip_range": 0.99, "value_clip_range": 0.01, "value_coefficient": 0.0, "gamma": 0.01, "lam": 0.0},
        {"clip_range": 0.01, "gamma": 1.0, "lam": 1.0, "epochs": 1, "target_kl": 0.01},
    ):
        assert ppo.Settings.model_validate(values).model_dump().items() >= values.items()
