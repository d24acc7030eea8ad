"""KL estimators by enumeration, their gradients, and the controller against hand-worked numbers."""

import math

import pytest
import torch
from checks import Rows, close, close_rows, differentiate, gradient, padded, ragged
from pydantic import ValidationError
from torch import Tensor

from tuningfork.errors import RecipeError
from tuningfork.methods import kl

POLICY = torch.tensor([0.4, 0.3, 0.15, 0.1, 0.05], dtype=torch.float64)
REFERENCE = torch.tensor([0.1, 0.2, 0.2, 0.2, 0.3], dtype=torch.float64)

SCALAR = {
    "k1": lambda p, r: p - r,
    "k2": lambda p, r: (p - r) ** 2 / 2,
    "k3": lambda p, r: math.exp(r - p) - 1 - (r - p),
}


def divergence(p: Tensor, q: Tensor) -> Tensor:
    return (p * (p / q).log()).sum()


def test_worked_example() -> None:
    # policy twice as likely as the reference: d = log 2
    new, ref = torch.tensor([math.log(0.5)], dtype=torch.float64), torch.tensor([math.log(0.25)], dtype=torch.float64)
    close(kl.k1(new, ref), [math.log(2)])
    close(kl.k2(new, ref), [math.log(2) ** 2 / 2])
    close(kl.k3(new, ref), [0.5 - 1 + math.log(2)])


@pytest.mark.parametrize("kind", ["k1", "k2", "k3"])
def test_estimators_and_gradients_match_loops(kind: kl.Estimator) -> None:
    rows, refs = ragged(1, [3, 3]), ragged(2, [3, 3])

    def scalar(values: Rows) -> float:
        return sum(
            SCALAR[kind](p, r) for row, ref in zip(values, refs, strict=True) for p, r in zip(row, ref, strict=True)
        )

    expected = [
        [SCALAR[kind](p, r) for p, r in zip(row, ref, strict=True)] for row, ref in zip(rows, refs, strict=True)
    ]
    close(kl.estimate(kind, padded(rows), padded(refs)), expected)
    result = gradient(lambda x: kl.estimate(kind, x, padded(refs)).sum(), padded(rows))
    close_rows(result.tolist(), differentiate(scalar, rows))


def test_expectations_of_k1_and_k3_are_the_divergence() -> None:
    for estimator in (kl.k1, kl.k3):
        close((POLICY * estimator(POLICY.log(), REFERENCE.log())).sum(), divergence(POLICY, REFERENCE), 1e-12)
    biased = (POLICY * kl.k2(POLICY.log(), REFERENCE.log())).sum()
    assert abs(biased - divergence(POLICY, REFERENCE)) > 0.01


def test_k2_and_k3_are_never_negative_and_zero_at_equality() -> None:
    difference = torch.linspace(-30, 30, 301, dtype=torch.float64)
    zero = torch.zeros_like(difference)
    for estimator in (kl.k2, kl.k3):
        assert bool((estimator(difference, zero) >= 0).all())
        close(estimator(POLICY, POLICY), torch.zeros(5))


def test_k3_keeps_its_digits_near_equality() -> None:
    # d^2 / 2 = 5e-17 for d = 1e-8, where exp(-d) - 1 + d computed plainly is 0 or 1e-16
    value = kl.k3(torch.tensor(1e-8, dtype=torch.float64), torch.tensor(0.0, dtype=torch.float64)).item()
    assert 4.9e-17 < value < 5.1e-17


@pytest.mark.parametrize(("kind", "expected"), [("k1", "nothing"), ("k2", "reverse"), ("k3", "forward")])
def test_expected_gradient_as_a_loss(kind: kl.Estimator, expected: str) -> None:
    logits = POLICY.log()

    def loss(x: Tensor) -> Tensor:
        return (POLICY * kl.estimate(kind, x.log_softmax(-1), REFERENCE.log())).sum()  # samples from the policy, fixed

    def reverse(x: Tensor) -> Tensor:
        return divergence(x.softmax(-1), REFERENCE)

    def forward(x: Tensor) -> Tensor:
        return divergence(REFERENCE, x.softmax(-1))

    of_loss = gradient(loss, logits)
    true = {"nothing": torch.zeros(5), "reverse": gradient(reverse, logits), "forward": gradient(forward, logits)}
    close(of_loss, true[expected])


def test_clamp_bounds_the_value_stops_the_gradient_and_is_counted() -> None:
    new, ref = torch.tensor([-50.0, 20.0, 50.0], dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    close(kl.k2(new, ref), [200.0, 200.0, 200.0])  # 20^2 / 2
    close(kl.k3(new, ref), [math.exp(20) - 21, math.exp(-20) + 19, math.exp(-20) + 19])
    close(kl.is_clamped(new, ref), [1.0, 0.0, 1.0])
    close(kl.is_clamped(torch.tensor([1.0, 3.0]), torch.tensor([0.0, 0.0]), limit=2.0), [0.0, 1.0])
    close(kl.is_clamped(torch.tensor([-15.0]), torch.tensor([10.0])), [1.0])
    for estimator in (kl.k2, kl.k3):
        slopes = gradient(lambda x, k=estimator: k(x, ref).sum(), new)
        close(slopes[[0, 2]], [0.0, 0.0])


def test_controller_worked_example() -> None:
    # error = 6.6 / 6 - 1 = 0.1; 0.2 * (1 + 0.1 * 256 / 10000) = 0.200512
    controller = kl.AdaptiveKL(0.2, target=6.0, horizon=10_000)
    close(controller.update(6.6, 256).coefficient, 0.200512, 1e-12)
    assert controller.coefficient == 0.2, "an update makes a new controller"


def test_controller_identities() -> None:
    controller = kl.AdaptiveKL(0.2, target=6.0, horizon=1000)
    assert controller.update(6.0, 64).coefficient == 0.2
    close(controller.update(1000.0, 64).coefficient, controller.update(1.2 * 6.0, 64).coefficient, 1e-12)
    close(controller.update(-3.0, 64).coefficient, 0.2 * (1 - 0.2 * 64 / 1000), 1e-12)
    close(controller.update(0.8 * 6.0, 64).coefficient, 0.2 * (1 - 0.2 * 64 / 1000), 1e-12)
    assert controller.update(7.0, 64).coefficient > 0.2 > controller.update(5.0, 64).coefficient


def test_controller_steers_towards_its_target() -> None:
    # a policy whose KL answers the coefficient as 1 / beta: the fixed point is 1 / target
    controller = kl.AdaptiveKL(0.5, target=4.0, horizon=100)
    for _ in range(400):
        controller = controller.update(1 / controller.coefficient, 10)
    close(controller.coefficient, 0.25, 1e-6)


def test_defaults_are_those_of_ziegler() -> None:
    assert (kl.AdaptiveKL(0.2).target, kl.AdaptiveKL(0.2).horizon) == (6.0, 10_000)


def test_largest_drift_is_reached_by_the_extremes() -> None:
    controller = kl.AdaptiveKL(0.2, target=6.0, horizon=500)
    lowest, highest = controller.max_drift(240, batch_episodes=60)
    up = down = controller
    for _ in range(4):
        up, down = up.update(1e9, 60), down.update(-1e9, 60)
    close([down.coefficient / 0.2, up.coefficient / 0.2], [lowest, highest], 1e-12)
    close(controller.max_drift(3, 1)[1], (1 + 0.2 / 500) ** 3, 1e-12)


def test_controller_state_round_trip() -> None:
    moved = kl.AdaptiveKL(0.2, 6.0, 500).update(9.0, 60)
    assert kl.AdaptiveKL(0.2, 6.0, 500).restored(moved.state()) == moved
    assert kl.FixedKL(0.3).restored(kl.FixedKL(0.1).state()) == kl.FixedKL(0.1)


def test_fixed_coefficient_does_not_move() -> None:
    controller = kl.FixedKL(0.05)
    assert controller.update(1e9, 64) == controller
    assert controller.max_drift(10_000, 64) == (1.0, 1.0)


def test_settings_choose_the_controller() -> None:
    assert kl.controller(kl.Settings(), 1000, 64) == kl.FixedKL(0.05)
    steered = kl.Settings(coefficient=0.1, target=3.0)
    assert kl.controller(steered, 1000, 64) == kl.AdaptiveKL(0.1, 3.0, 200)  # a fifth of 1,000
    assert kl.controller(steered, 100, 64) == kl.AdaptiveKL(0.1, 3.0, 64)  # and a batch at least
    assert kl.controller(kl.Settings(target=3.0, horizon=300), 1000, 64) == kl.AdaptiveKL(0.05, 3.0, 300)


def test_horizon_shorter_than_a_batch_is_refused() -> None:
    settings = kl.Settings(target=3.0, horizon=64)
    assert kl.controller(settings, 1000, 64) == kl.AdaptiveKL(0.05, 3.0, 64)
    with pytest.raises(RecipeError, match=r"horizon of 64 .* batches of 128: .* by 40%\. Set horizon to 128"):
        kl.controller(settings, 1000, 128)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"horizon": 100}, "horizon has no effect"),
        ({"target": 6.0, "coefficient": 0.0}, "coefficient 0 stays 0"),
        ({"target": 0.0}, "greater than 0"),
        ({"target": 6.0, "horizon": 0}, "greater than 0"),
        ({"coefficient": -0.1}, "greater than or equal to 0"),
    ],
)
def test_settings_refuse_what_makes_no_sense(values: dict[str, float], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        kl.Settings.model_validate(values)


def test_no_kl_at_all_is_allowed() -> None:
    assert kl.Settings(coefficient=0.0).coefficient == 0.0
    assert kl.Settings(target=0.5, horizon=1).horizon == 1
