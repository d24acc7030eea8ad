"""CISPO against plain loops: a bounded weight, and a gradient on every token."""

import math
from dataclasses import replace
from typing import Any

import episodes
import pytest
import torch
from checks import Rows, close, mask_of, padded
from episodes import DATA, LENGTHS, on_tokens, scalar_rewards, standardised
from pydantic import ValidationError

from tuningfork.batch import Needs, PolicyBatch
from tuningfork.methods.policy import cispo, load

METHOD = load("cispo")
EVERYTHING = cispo.Settings(max_weight=1.2, entropy_coefficient=0.05, kl_in="loss", kl_estimator="k3")


def scalar_advantages(settings: cispo.Settings) -> Rows:
    rewards = [sum(row) for row in scalar_rewards(settings.kl_in)]
    return on_tokens(standardised(rewards))


@pytest.mark.parametrize("kl_in", ["reward", "none"])
def test_advantages_match_loops(kl_in: Any) -> None:
    settings = cispo.Settings(kl_in=kl_in)
    assert episodes.check_advantages(METHOD, settings, scalar_advantages(settings)) == {}


def scalar_loss(settings: cispo.Settings) -> Any:
    """The weight is fixed: it is computed from where the log-probabilities are, not from where they are moved to."""

    def losses(values: dict[str, Rows], signals: Rows) -> Rows:
        found = []
        for i, length in enumerate(LENGTHS):
            row = []
            for t in range(length):
                weight = min(math.exp(DATA["new"][i][t] - DATA["old"][i][t]), settings.max_weight)
                own = -weight * signals[i][t] * values["logprobs"][i][t]
                row.append(own + episodes.scalar_terms(i, t, values, settings))
            found.append(row)
        return found

    return losses


@pytest.mark.parametrize("changes", [{}, {"kl_estimator": "k2"}, {"kl_in": "none", "kl_estimator": None}])
def test_loss_and_gradient_match_loops(changes: dict[str, Any]) -> None:
    settings = cispo.Settings.model_validate(EVERYTHING.model_dump() | changes)
    episodes.check_loss(METHOD, settings, scalar_loss(settings), ("logprobs", "entropy"))


def test_worked_example() -> None:
    # log-probs log 0.5 from log 0.05: ratio 10, weight 5; A = 2: -5 * 2 * log 0.5.  From log 0.25: ratio 2, A = -1
    of = PolicyBatch(
        logprobs=torch.tensor([[0.5, 0.5]], dtype=torch.float64).log(),
        old_logprobs=torch.tensor([[0.05, 0.25]], dtype=torch.float64).log(),
        advantages=torch.tensor([[2.0, -1.0]], dtype=torch.float64),
        mask=mask_of([2]),
        weights=torch.ones(1, 2) / 2,
    )
    losses, metrics = cispo.token_loss(of, cispo.Settings())
    close(losses, [[-10 * math.log(0.5), 2 * math.log(0.5)]])
    close(metrics["clip_fraction"], [[1.0, 0.0]])
    close(episodes.gradient_of(METHOD, of, cispo.Settings()), [[-5.0, 1.0]])


def test_invariances() -> None:
    episodes.check_invariances(METHOD, EVERYTHING)


def test_direction() -> None:
    episodes.check_direction(METHOD, cispo.Settings())


def test_metrics() -> None:
    episodes.check_metrics(METHOD, EVERYTHING, episodes.RATIO | {"clip_fraction", "kl_clamp_fraction"})


def test_ratio_one_is_the_policy_gradient_over_all_tokens() -> None:
    free = cispo.Settings()
    of = replace(episodes.batch(METHOD, free), old_logprobs=padded(DATA["new"]))
    tokens = sum(length for row, length in enumerate(LENGTHS) if episodes.is_scored(row))
    close(episodes.gradient_of(METHOD, of, free), -of.zero_padding().advantages / tokens)


def test_a_weight_at_the_bound_is_not_counted() -> None:
    of = episodes.batch(METHOD, cispo.Settings(), 0.0)
    _, metrics = cispo.token_loss(replace(of, logprobs=of.old_logprobs), cispo.Settings(max_weight=1.0))
    close(metrics["clip_fraction"], torch.zeros_like(episodes.MASK))


def test_no_token_loses_its_gradient_however_far_it_went() -> None:
    of = episodes.batch(METHOD, cispo.Settings(), 0.0)
    far = replace(of, logprobs=of.old_logprobs + 3.0)
    slopes = episodes.gradient_of(METHOD, far, cispo.Settings())
    assert bool((slopes[episodes.scored_mask()] != 0).all())
    near = episodes.gradient_of(METHOD, replace(of, logprobs=of.old_logprobs), cispo.Settings())
    close(slopes, 5 * near)


def test_advantages_of_a_group_sum_to_zero_and_ignore_a_shift() -> None:
    free = cispo.Settings()
    known = episodes.experience()
    estimate = cispo.advantages(known, free)[0].advantages[:, 0]
    for number in set(episodes.GROUPS):
        close(estimate[known.groups == number].sum(), 0.0)  # type: ignore[arg-type]
    assert known.groups is not None
    moved = replace(known, scores=known.scores + 7 * known.groups)
    close(cispo.advantages(moved, free)[0].advantages[:, 0], estimate)


def test_missing_parts_are_named() -> None:
    with pytest.raises(AssertionError, match="groups"):
        cispo.advantages(replace(episodes.experience(), groups=None), EVERYTHING)


def test_needs() -> None:
    charged = cispo.Settings(kl_in="reward", kl_estimator=None)
    assert cispo.needs(charged) == Needs(reference=True, groups=True)
    free = cispo.Settings(kl_in="none", kl_estimator=None, entropy_coefficient=0.1)
    assert cispo.needs(free) == Needs(entropy=True, groups=True)


def test_defaults() -> None:
    assert cispo.Settings().model_dump() == {
        "max_weight": 5.0,
        "epochs": 1,
        "kl_in": "none",
        "kl_estimator": None,
        "entropy_coefficient": 0.0,
    }
    assert METHOD.average == "token_mean"


@pytest.mark.parametrize("values", [{"max_weight": 0.99}, {"epochs": 0}, {"kl_in": "loss"}])
def test_settings_refuse_what_makes_no_sense(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        cispo.Settings.model_validate(values)
    assert (
        cispo.Settings.model_validate({"max_weight": 1.0, "epochs": 1}).model_dump().items()
        >= {"max_weight": 1.0, "epochs": 1}.items()
    )
