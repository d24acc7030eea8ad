"""KTO against plain floats: single responses, the KL they are measured from, both classes and one."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from checks import close, differentiate, gradient
from pairs import sigmoid
from pydantic import ValidationError
from torch import Tensor

from tuningfork.batch import PreferenceNeeds, TextLogprobs
from tuningfork.methods.preference import kto, load

METHOD = load("kto")
EVERYTHING = kto.Settings(beta=0.5, desirable_weight=1.5, undesirable_weight=0.7)
POLICY = [-3.0, -1.5, -7.25, -2.0, -4.0]
REFERENCE = [-3.5, -1.0, -6.0, -4.0, -4.0]
DESIRABLE = [True, False, True, False, True]


def texts(policy: Tensor | None = None, kl: float = 0.4, desirable: list[bool] | None = None) -> TextLogprobs:
    return TextLogprobs(
        logprobs=torch.tensor(POLICY, dtype=torch.float64) if policy is None else policy,
        ref_logprobs=torch.tensor(REFERENCE, dtype=torch.float64),
        is_desirable=torch.tensor(DESIRABLE if desirable is None else desirable),
        kl=kl,
    )


def scalar_loss(p: float, r: float, is_good: bool, kl: float, settings: kto.Settings) -> float:
    distance = p - r - max(0.0, kl)
    if is_good:
        return settings.desirable_weight * (1 - sigmoid(settings.beta * distance))
    return settings.undesirable_weight * (1 - sigmoid(-settings.beta * distance))


def test_worked_example() -> None:
    # P - R = log 3 + 0.2, z = 0.2, beta 1: 1 - 3/4 where good, 1 - 1/4 where bad
    of = TextLogprobs(
        logprobs=torch.tensor([math.log(3) - 0.8] * 2, dtype=torch.float64),
        ref_logprobs=torch.tensor([-1.0, -1.0], dtype=torch.float64),
        is_desirable=torch.tensor([True, False]),
        kl=0.2,
    )
    losses, metrics = kto.loss(of, kto.Settings(beta=1.0))
    close(losses, [0.25, 0.75])
    close(metrics["preference_loss"], [0.25, 0.75])
    close(metrics["margin"], [math.log(3), -math.log(3)])
    close(metrics["accuracy"], [1.0, 0.0])


@pytest.mark.parametrize("settings", [kto.Settings(), EVERYTHING])
@pytest.mark.parametrize("kl", [0.4, 0.0, -2.0, 3.0])
def test_loss_and_gradient_match_loops(settings: kto.Settings, kl: float) -> None:
    def each(policy: list[float]) -> list[float]:
        rows = zip(policy, REFERENCE, DESIRABLE, strict=True)
        return [scalar_loss(p, r, good, kl, settings) for p, r, good in rows]

    close(kto.loss(texts(kl=kl), settings)[0], each(POLICY))
    slopes = gradient(lambda x: kto.loss(texts(x, kl), settings)[0].mean(), texts().logprobs)
    close(slopes, differentiate(lambda rows: sum(each(rows[0])) / 5, [POLICY])[0])


def test_at_the_reference_a_loss_is_half_its_weight() -> None:
    of = replace(texts(kl=0.0), ref_logprobs=texts().logprobs)
    losses, metrics = kto.loss(of, EVERYTHING)
    close(losses, [0.75, 0.35, 0.75, 0.35, 0.75])
    close(metrics["accuracy"], [0.5] * 5)


def test_a_negative_estimate_of_the_kl_counts_as_zero() -> None:
    close(kto.loss(texts(kl=-5.0), EVERYTHING)[0], kto.loss(texts(kl=0.0), EVERYTHING)[0], 1e-12)


@pytest.mark.parametrize("good", [True, False])
def test_a_batch_of_one_kind_works(good: bool) -> None:
    losses, _ = kto.loss(texts(desirable=[good] * 5), EVERYTHING)
    rows = zip(POLICY, REFERENCE, strict=True)
    close(losses, [scalar_loss(p, r, good, 0.4, EVERYTHING) for p, r in rows])


@pytest.mark.parametrize("cuts", [[5], [2, 3], [1] * 5])
def test_micro_batches_and_order_change_nothing(cuts: list[int]) -> None:
    whole = gradient(lambda x: kto.loss(texts(x), EVERYTHING)[0].mean(), texts().logprobs)

    def split(x: Tensor) -> Tensor:
        total, start = torch.zeros((), dtype=torch.float64), 0
        for size in cuts:
            part = texts(x).slice(slice(start, start + size))
            total, start = total + kto.loss(part, EVERYTHING)[0].sum() / 5, start + size
        return total

    close(gradient(split, texts().logprobs), whole, 1e-12)
    order: Any = torch.tensor([4, 0, 2, 1, 3])
    close(kto.loss(texts().slice(order), EVERYTHING)[0], kto.loss(texts(), EVERYTHING)[0][order], 1e-12)


def test_direction() -> None:
    slopes = gradient(lambda x: kto.loss(texts(x), EVERYTHING)[0].sum(), texts().logprobs)
    assert (slopes < 0).tolist() == DESIRABLE


def test_far_responses_stay_finite() -> None:
    for far in (1e4, -1e4):
        of = texts(torch.full((5,), far, dtype=torch.float64))
        slopes = gradient(lambda x: kto.loss(texts(x), EVERYTHING)[0].sum(), of.logprobs)
        assert bool(kto.loss(of, EVERYTHING)[0].isfinite().all()) and bool(slopes.isfinite().all())
    # 1 - sigma(x) in fp32 is 0 from x = 17 on; sigma(-x) is not
    lost = replace(texts(), logprobs=torch.tensor([40.0] * 5), ref_logprobs=torch.zeros(5), kl=0.0)
    losses, _ = kto.loss(lost, kto.Settings(beta=1.0))
    assert float(losses[0]) == pytest.approx(math.exp(-40), rel=1e-5)


def test_only_the_policy_carries_a_gradient() -> None:
    live, ref = texts().logprobs.requires_grad_(), texts().ref_logprobs.requires_grad_()
    losses, metrics = kto.loss(replace(texts(live), ref_logprobs=ref), EVERYTHING)
    losses.sum().backward()
    assert live.grad is not None and ref.grad is None
    assert not any(metric.requires_grad for metric in metrics.values())


def test_needs_and_defaults() -> None:
    assert kto.needs(EVERYTHING) == PreferenceNeeds(reference=True, unpaired=True)
    assert kto.Settings().model_dump() == {"beta": 0.1, "desirable_weight": 1.0, "undesirable_weight": 1.0}


@pytest.mark.parametrize("values", [{"beta": 0.0}, {"desirable_weight": 0.0}, {"undesirable_weight": 0.0}])
def test_settings_refuse_what_makes_no_sense(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        kto.Settings.model_validate(values)
