"""Where KL and entropy enter: rewards or losses, by loops and by hand."""

import math
from dataclasses import replace
from typing import Any

import episodes
import pytest
import torch
from checks import close, close_rows, unpadded
from episodes import scalar_rewards
from pydantic import ValidationError

from tuningfork.batch import PolicyBatch
from tuningfork.methods import regularisation
from tuningfork.methods.regularisation import Settings


@pytest.mark.parametrize("kl_in", ["reward", "loss", "none"])
def test_rewards_match_loops(kl_in: Any) -> None:
    settings = Settings(kl_in=kl_in, kl_estimator="k3" if kl_in == "loss" else None)
    expected = scalar_rewards(kl_in)
    for fill in (math.nan, 1e6):
        rewards = regularisation.token_rewards(episodes.experience(fill, 9), settings)
        close_rows(unpadded(rewards, episodes.scored_mask(9)), expected)
        whole = regularisation.response_rewards(episodes.experience(fill, 9), settings)
        close(whole, [sum(row) for row in expected])


def test_prefix_scores_pay_as_they_arise() -> None:
    experience = episodes.experience()
    mask, scores = experience.mask, experience.scores
    prefixes = torch.linspace(-1, 2, mask.shape[1] + 1, dtype=torch.float64).expand(len(mask), -1)
    paid = replace(experience, prefix_scores=prefixes)
    for settings in (Settings(kl_in="reward"), Settings(kl_in="none")):
        at_the_end = regularisation.token_rewards(experience, settings)
        as_it_arises = regularisation.token_rewards(paid, settings)
        assert (as_it_arises != at_the_end)[mask].any()
        change = (as_it_arises - at_the_end).sum(-1)[mask.any(-1)]
        close(change, [1.0] * len(change))  # the prompt's score of -1 is not paid again
    assert scores is experience.scores


def one_token(**more: Any) -> PolicyBatch:
    one = torch.ones(1, 1, dtype=torch.float64)
    known: dict[str, Any] = {
        "logprobs": one.log(),
        "old_logprobs": one.log(),
        "ref_logprobs": (2 * one).log(),
        "advantages": one,
        "mask": one.bool(),
        "weights": one,
        "entropy": 3 * one,
        "kl_coefficient": 0.5,
    }
    return PolicyBatch(**known | more)


def test_worked_example() -> None:
    # entropy 3 at 0.1: -0.3.  d = -log 2: k3 = 2 - 1 - log 2, k2 = (log 2)^2 / 2, at 0.5
    losses, metrics = torch.ones(1, 1, dtype=torch.float64), {"policy_loss": torch.ones(1, 1)}
    both = Settings(entropy_coefficient=0.1, kl_in="loss", kl_estimator="k3")
    total, found = regularisation.add_terms(losses, metrics, one_token(), both)
    close(total, [[0.7 + 0.5 * (1 - math.log(2))]])
    assert found.keys() == {"policy_loss", "entropy", "kl_clamp_fraction"} and metrics.keys() == {"policy_loss"}
    close([found["entropy"], found["kl_clamp_fraction"]], [3.0, 0.0])
    squared = Settings(kl_in="loss", kl_estimator="k2")
    close(regularisation.add_terms(losses, {}, one_token(), squared)[0], [[1 + 0.25 * math.log(2) ** 2]])
    plain, found = regularisation.add_terms(losses, {}, one_token(entropy=None), Settings())
    close(plain, [[1.0]])
    assert found == {}


def test_the_clamp_is_counted() -> None:
    far = one_token(ref_logprobs=torch.full((1, 1), 30.0, dtype=torch.float64))
    settings = Settings(kl_in="loss", kl_estimator="k3")
    close(regularisation.add_terms(torch.zeros(1, 1), {}, far, settings)[1]["kl_clamp_fraction"], [[1.0]])


def test_terms_carry_the_gradient_and_metrics_do_not() -> None:
    live = torch.zeros(1, 1, dtype=torch.float64, requires_grad=True)
    settings = Settings(entropy_coefficient=0.1, kl_in="loss", kl_estimator="k3")
    losses, metrics = regularisation.add_terms(
        torch.zeros(1, 1), {"policy_loss": live * 2}, one_token(logprobs=live, entropy=live * 3), settings
    )
    assert losses.requires_grad and not any(metric.requires_grad for metric in metrics.values())


def test_missing_parts_are_named() -> None:
    with pytest.raises(AssertionError, match="KL in the reward needs log-probabilities of a reference"):
        regularisation.token_rewards(replace(episodes.experience(), ref_logprobs=None), Settings())
    with pytest.raises(AssertionError, match="entropy"):
        regularisation.add_terms(torch.zeros(1, 1), {}, one_token(entropy=None), Settings(entropy_coefficient=0.1))
    with pytest.raises(AssertionError, match="KL in the loss needs log-probabilities of a reference"):
        settings = Settings(kl_in="loss", kl_estimator="k2")
        regularisation.add_terms(torch.zeros(1, 1), {}, one_token(ref_logprobs=None), settings)


@pytest.mark.parametrize(
    "values",
    [
        {"kl_in": "loss"},
        {"kl_estimator": "k3"},
        {"kl_in": "none", "kl_estimator": "k2"},
        {"kl_in": "loss", "kl_estimator": "k1"},
        {"entropy_coefficient": -0.1},
    ],
)
def test_settings_refuse_what_makes_no_sense(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate(values)


def test_defaults() -> None:
    assert Settings().model_dump() == {"kl_in": "reward", "kl_estimator": None, "entropy_coefficient": 0.0}
