"""SimPO against plain floats: log-probability a token, a margin inside the sigmoid, no reference."""

import math
from dataclasses import replace
from typing import Any

import pairs
import pytest
import torch
from checks import close, gradient
from pairs import Pair, logsig, one_pair, sigmoid
from pydantic import ValidationError

from tuningfork.batch import PreferenceNeeds
from tuningfork.methods.preference import dpo, load, simpo

METHOD = load("simpo")
EVERYTHING = simpo.Settings(beta=2.5, gamma=1.4, nll_coefficient=0.3)


def scalar_loss(pair: Pair, settings: simpo.Settings) -> float:
    reward = settings.beta * (pair.p_chosen / pair.chosen - pair.p_rejected / pair.rejected)
    return -logsig(reward - settings.gamma) + settings.nll_coefficient * -pair.p_chosen / pair.chosen


def test_worked_example() -> None:
    # P_c = -1 over 2 tokens, P_r = -2 over 1: 1.5 apart, times 2, less 1: 2
    losses, metrics = simpo.loss(one_pair(1.0, lengths=(2, 1)), simpo.Settings())
    close(losses, [-math.log(sigmoid(2.0))])
    close(metrics["margin"], [3.0])


@pytest.mark.parametrize("settings", [simpo.Settings(), EVERYTHING])
def test_loss_and_gradient_match_loops(settings: simpo.Settings) -> None:
    pairs.check_loss(METHOD, settings, lambda pair: scalar_loss(pair, settings))


def test_invariances() -> None:
    pairs.check_invariances(METHOD, EVERYTHING)


def test_direction() -> None:
    pairs.check_direction(METHOD, simpo.Settings())


def test_accuracy() -> None:
    pairs.check_accuracy(METHOD, EVERYTHING)


def test_far_pairs_stay_finite() -> None:
    pairs.check_finite(METHOD, EVERYTHING)


def test_no_reference_is_needed() -> None:
    assert simpo.needs(EVERYTHING) == PreferenceNeeds()
    without = METHOD.loss(pairs.pairs(reference=False), EVERYTHING)[0]
    close(METHOD.loss(pairs.pairs(), EVERYTHING)[0], without, 1e-12)


def test_the_length_of_a_response_of_equal_tokens_does_not_matter() -> None:
    of = pairs.pairs()
    names = ("chosen", "rejected", "chosen_lengths", "rejected_lengths")
    doubled: Any = {name: 2 * getattr(of, name) for name in names}
    close(simpo.loss(replace(of, **doubled), simpo.Settings())[0], simpo.loss(of, simpo.Settings())[0], 1e-12)


def test_without_margin_and_for_one_token_it_is_dpo_to_a_flat_reference() -> None:
    of = one_pair(0.7)
    zero = torch.zeros(1, dtype=torch.float64)
    flat = replace(of, ref_chosen=zero, ref_rejected=zero)
    ours, _ = simpo.loss(of, simpo.Settings(beta=0.5, gamma=0.0))
    close(ours, dpo.loss(flat, dpo.Settings(beta=0.5))[0], 1e-12)
    slopes = gradient(lambda x: simpo.loss(replace(of, chosen=x), simpo.Settings(gamma=0.0))[0].sum(), of.chosen)
    close(slopes, [-2.0 * sigmoid(-1.4)])


def test_defaults() -> None:
    assert simpo.Settings().model_dump() == {"beta": 2.0, "gamma": 1.0, "nll_coefficient": 0.0}


@pytest.mark.parametrize("values", [{"beta": 0.0}, {"gamma": -0.1}])
def test_settings_refuse_what_makes_no_sense(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        simpo.Settings.model_validate(values)
