"""A2C against plain loops, and the proof that it is PPO with one epoch, one mini-batch and no clips."""

from dataclasses import replace
from typing import Any

import episodes
import pytest
import torch
from checks import Rows, close, gradient, padded, ragged
from episodes import DATA, LENGTHS, scalar_rewards
from pydantic import ValidationError

from tuningfork.batch import Needs, PolicyBatch
from tuningfork.methods.policy import a2c, load, ppo

METHOD = load("a2c")
EVERYTHING = a2c.Settings(gamma=0.9, lam=0.8, entropy_coefficient=0.05, kl_in="loss", kl_estimator="k3")


def scalar_advantages(kl_in: str, gamma: float, lam: float) -> Rows:
    found = []
    for reward, value in zip(scalar_rewards(kl_in), DATA["values"], strict=True):
        after = [*value[1:], 0.0]
        errors = [r + gamma * n - v for r, n, v in zip(reward, after[: len(reward)], value[: len(reward)], strict=True)]
        found.append([sum((gamma * lam) ** k * e for k, e in enumerate(errors[t:])) for t in range(len(errors))])
    return found


def scalar_loss(settings: a2c.Settings) -> Any:
    signals_before = scalar_advantages(settings.kl_in, settings.gamma, settings.lam)

    def losses(values: dict[str, Rows], signals: Rows) -> Rows:
        found = []
        for i, length in enumerate(LENGTHS):
            row = []
            for t in range(length):
                target = signals_before[i][t] + DATA["values"][i][t] if signals_before[i] else 0.0
                critic = settings.value_coefficient * (values["values"][i][t] - target) ** 2 / 2
                terms = episodes.scalar_terms(i, t, values, settings)
                row.append(-signals[i][t] * values["logprobs"][i][t] + critic + terms)
            found.append(row)
        return found

    return losses


def test_worked_example() -> None:
    # A = 2, log-prob -0.5: 1.  V = 0.5, R = 2: 1.5^2 / 2 = 1.125, times 0.5: 0.5625
    one = torch.ones(1, 1, dtype=torch.float64)
    of = PolicyBatch(
        logprobs=-0.5 * one,
        old_logprobs=-0.5 * one,
        advantages=2 * one,
        returns=2 * one,
        values=0.5 * one,
        mask=one.bool(),
        weights=one,
    )
    losses, metrics = a2c.token_loss(of, a2c.Settings())
    close(losses, [[1.5625]])
    close(metrics["value_loss"], [[1.125]])
    close(metrics["policy_loss"], [[1.0]])


@pytest.mark.parametrize("kl_in", ["reward", "none"])
def test_advantages_match_loops(kl_in: Any) -> None:
    settings = a2c.Settings(kl_in=kl_in, gamma=0.9, lam=0.8)
    metrics = episodes.check_advantages(METHOD, settings, scalar_advantages(kl_in, 0.9, 0.8))
    assert metrics.keys() == {"explained_variance", "value_mean", "return_mean"}


def test_whitening_is_over_what_is_scored() -> None:
    estimate, _ = a2c.advantages(episodes.experience(), a2c.Settings(whiten_advantages=True))
    used = estimate.advantages[episodes.scored_mask()]
    close(used.mean(), 0.0)
    close(used.var(unbiased=False), 1.0, 1e-6)


@pytest.mark.parametrize("changes", [{}, {"kl_estimator": "k2"}, {"kl_in": "reward", "kl_estimator": None}])
def test_loss_and_gradients_match_loops(changes: dict[str, Any]) -> None:
    settings = a2c.Settings.model_validate(EVERYTHING.model_dump() | changes)
    episodes.check_loss(METHOD, settings, scalar_loss(settings), ("logprobs", "values", "entropy"))


def test_invariances() -> None:
    episodes.check_invariances(METHOD, EVERYTHING)


def test_direction() -> None:
    episodes.check_direction(METHOD, a2c.Settings(kl_in="none"))


def test_metrics() -> None:
    episodes.check_metrics(METHOD, EVERYTHING, episodes.RATIO | {"value_loss", "kl_clamp_fraction"})


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kl", [{}, {"kl_in": "loss", "kl_estimator": "k3"}, {"entropy_coefficient": 0.01}])
def test_it_is_ppo_on_fresh_responses_to_the_bit(dtype: torch.dtype, kl: dict[str, Any]) -> None:
    """One epoch, one mini-batch, no whitening, no value clip, old log-probs detached from the same forward (2205.09123)."""
    shared: dict[str, Any] = {"value_coefficient": 0.5, "gamma": 0.99, "lam": 0.9, **kl}
    ours = a2c.Settings(**shared)
    theirs = ppo.Settings(**shared, epochs=1, whiten_advantages=False, value_clip_range=None)
    known = episodes.experience(0.0)
    known = replace(known, **{name: value.to(dtype) for name, value in _floats(known).items()})
    estimates = [a2c.advantages(known, ours)[0], ppo.advantages(known, theirs)[0]]
    assert estimates[0].returns is not None and estimates[1].returns is not None
    assert torch.equal(estimates[0].advantages, estimates[1].advantages)
    assert torch.equal(estimates[0].returns, estimates[1].returns)
    weights = torch.nn.Parameter(padded(ragged(9, [3, 3, 3]), 0.0).to(dtype))
    features = {name: padded(ragged(10 + place, [3] * 8)).to(dtype) for place, name in enumerate(("p", "v", "h"))}
    slopes = []
    for method, settings, estimate in ((a2c, ours, estimates[0]), (ppo, theirs, estimates[1])):
        # one trunk for the policy, the critic and the entropy, so that all parts of the gradient meet
        logprobs, values, entropies = ((features[name] @ weights).mean(-1, keepdim=True) for name in ("p", "v", "h"))
        of = PolicyBatch(
            logprobs=logprobs * known.old_logprobs,
            old_logprobs=(logprobs * known.old_logprobs).detach(),
            values=values + known.old_logprobs,
            old_values=(values + known.old_logprobs).detach(),
            entropy=entropies.expand_as(known.mask),
            advantages=estimate.advantages,
            returns=estimate.returns,
            ref_logprobs=known.ref_logprobs,
            mask=known.mask,
            weights=known.mask / known.mask.sum(),
            kl_coefficient=0.1,
        )
        losses, _ = method.token_loss(of, settings)  # type: ignore[arg-type]
        (slope,) = torch.autograd.grad((losses * of.weights).sum(), weights)
        slopes.append(slope)
    assert bool((slopes[0] != 0).all()) and torch.equal(slopes[0], slopes[1])


def _floats(known: Any) -> dict[str, torch.Tensor]:
    named = {name: getattr(known, name) for name in ("scores", "old_logprobs", "ref_logprobs", "values", "baselines")}
    return {name: value for name, value in named.items() if value is not None}


def test_the_critic_learns_its_return() -> None:
    of = episodes.batch(METHOD, EVERYTHING)
    assert of.values is not None and of.returns is not None
    step = -gradient(lambda x: episodes.loss(METHOD, replace(of, values=x), EVERYTHING), of.values)
    mask = episodes.scored_mask()
    assert bool((step[mask].sign() == (of.returns - of.values)[mask].sign()).all())


def test_missing_parts_are_named() -> None:
    with pytest.raises(AssertionError, match="A2C needs values"):
        a2c.advantages(replace(episodes.experience(), values=None), a2c.Settings())
    for field in ("values", "returns"):
        with pytest.raises(AssertionError, match="values and returns"):
            a2c.token_loss(replace(episodes.batch(METHOD, EVERYTHING), **{field: None}), EVERYTHING)


def test_needs() -> None:
    assert a2c.needs(a2c.Settings()) == Needs(values=True, reference=True, on_policy=True)
    assert a2c.needs(a2c.Settings(kl_in="none", entropy_coefficient=0.1)) == Needs(
        values=True, entropy=True, on_policy=True
    )


def test_defaults() -> None:
    assert a2c.Settings().model_dump() == {
        "value_coefficient": 0.5,
        "gamma": 1.0,
        "lam": 0.95,
        "whiten_advantages": False,
        "kl_in": "reward",
        "kl_estimator": None,
        "entropy_coefficient": 0.0,
    }
    assert METHOD.average == "token_mean"


@pytest.mark.parametrize(
    "values", [{"value_coefficient": -0.1}, {"gamma": 0.0}, {"gamma": 1.1}, {"lam": -0.1}, {"lam": 1.1}]
)
def test_settings_refuse_what_makes_no_sense(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        a2c.Settings.model_validate(values)
    assert a2c.Settings(value_coefficient=0.0, gamma=0.01, lam=0.0).lam == 0.0
