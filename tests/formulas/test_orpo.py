"""ORPO against plain floats: odds of the mean token, likelihood of the chosen response, no reference."""

import math
from dataclasses import replace
from typing import Any

import pairs
import pytest
import torch
from checks import close, gradient
from pairs import Pair, logsig, one_pair
from pydantic import ValidationError

from tuningfork.batch import PreferenceNeeds
from tuningfork.methods.preference import load, orpo

METHOD = load("orpo")
EVERYTHING = orpo.Settings(odds_coefficient=0.7)


def scalar_loss(pair: Pair, settings: orpo.Settings) -> float:
    chosen, rejected = math.exp(pair.p_chosen / pair.chosen), math.exp(pair.p_rejected / pair.rejected)
    ratio = math.log(chosen / (1 - chosen)) - math.log(rejected / (1 - rejected))
    return -pair.p_chosen / pair.chosen - settings.odds_coefficient * logsig(ratio)


def test_worked_example() -> None:
    # p = 1/2 a token and 1/4: odds 1 and 1/3, ratio 3: sigma(log 3) = 3/4
    of = replace(
        one_pair(lengths=(2, 1)),
        chosen=2 * torch.tensor([0.5], dtype=torch.float64).log(),
        rejected=torch.tensor([0.25], dtype=torch.float64).log(),
    )
    losses, metrics = orpo.loss(of, orpo.Settings())
    close(losses, [math.log(2) - 0.1 * math.log(0.75)])
    close([metrics["margin"], metrics["chosen_nll"]], [math.log(3), math.log(2)])
    close(metrics["preference_loss"], [-math.log(0.75)])


@pytest.mark.parametrize("settings", [orpo.Settings(), EVERYTHING])
def test_loss_and_gradient_match_loops(settings: orpo.Settings) -> None:
    pairs.check_loss(METHOD, settings, lambda pair: scalar_loss(pair, settings))


def test_invariances() -> None:
    pairs.check_invariances(METHOD, EVERYTHING)


def test_direction() -> None:
    pairs.check_direction(METHOD, orpo.Settings())


def test_accuracy() -> None:
    pairs.check_accuracy(METHOD, EVERYTHING)


def test_no_reference_is_needed() -> None:
    assert orpo.needs(EVERYTHING) == PreferenceNeeds()
    without = METHOD.loss(pairs.pairs(reference=False), EVERYTHING)[0]
    close(METHOD.loss(pairs.pairs(), EVERYTHING)[0], without, 1e-12)


@pytest.mark.parametrize("total", [-500.0, -1e-9, -1e4])
def test_very_unlikely_and_very_likely_responses_stay_finite(total: float) -> None:
    for length in (1, 4):
        of = replace(one_pair(lengths=(length, 2)), chosen=torch.tensor([total], dtype=torch.float64))
        slopes = gradient(lambda x, of=of: orpo.loss(replace(of, chosen=x), orpo.Settings())[0].sum(), of.chosen)
        assert bool(orpo.loss(of, orpo.Settings())[0].isfinite()) and bool(slopes.isfinite()) and float(slopes) != 0


def test_without_the_odds_it_is_fine_tuning_on_the_chosen_response() -> None:
    losses, _ = orpo.loss(pairs.pairs(), orpo.Settings(odds_coefficient=0.0))
    of = pairs.pairs()
    close(losses, -of.chosen / of.chosen_lengths, 1e-12)


def test_defaults() -> None:
    assert orpo.Settings().model_dump() == {"odds_coefficient": 0.1}


@pytest.mark.parametrize("values", [{"odds_coefficient": -0.1}])
def test_settings_refuse_what_makes_no_sense(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        orpo.Settings.model_validate(values)
