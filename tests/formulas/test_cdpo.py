"""cDPO against plain floats; DPO at e = 0, a minimum where the flip rate says."""

import math
from dataclasses import replace
from typing import Any

import pairs
import pytest
from checks import close, gradient
from pairs import Pair, logsig, one_pair
from pydantic import ValidationError

from tuningfork.batch import PreferenceNeeds
from tuningfork.methods.preference import cdpo, dpo, load

METHOD = load("cdpo")
EVERYTHING = cdpo.Settings(beta=0.5, label_smoothing=0.2, nll_coefficient=0.3)


def scalar_loss(pair: Pair, settings: cdpo.Settings) -> float:
    e, margin = settings.label_smoothing, settings.beta * pair.h
    return -(1 - e) * logsig(margin) - e * logsig(-margin) + settings.nll_coefficient * -pair.p_chosen / pair.chosen


def test_worked_example() -> None:
    # beta h = log 3: -0.9 log(3/4) - 0.1 log(1/4)
    losses, _ = cdpo.loss(one_pair(math.log(3) / 0.1), cdpo.Settings())
    close(losses, [-0.9 * math.log(0.75) - 0.1 * math.log(0.25)])


@pytest.mark.parametrize("settings", [cdpo.Settings(), EVERYTHING])
def test_loss_and_gradient_match_loops(settings: cdpo.Settings) -> None:
    pairs.check_loss(METHOD, settings, lambda pair: scalar_loss(pair, settings))


def test_invariances() -> None:
    pairs.check_invariances(METHOD, EVERYTHING)


def test_direction() -> None:
    pairs.check_direction(METHOD, cdpo.Settings())


def test_accuracy() -> None:
    pairs.check_accuracy(METHOD, EVERYTHING)


def test_far_pairs_stay_finite() -> None:
    pairs.check_finite(METHOD, EVERYTHING)


def test_the_reference_is_asked_for() -> None:
    pairs.check_reference_is_asked_for(METHOD, EVERYTHING)
    assert cdpo.needs(EVERYTHING) == PreferenceNeeds(reference=True)


def test_without_smoothing_it_is_dpo() -> None:
    ours, _ = cdpo.loss(pairs.pairs(), cdpo.Settings(label_smoothing=0.0))
    close(ours, dpo.loss(pairs.pairs(), dpo.Settings())[0], 1e-12)


def test_the_minimum_lies_where_the_flip_rate_says() -> None:
    of = one_pair(math.log(0.9 / 0.1) / 0.1)  # sigma(beta h) = 1 - e
    slopes = gradient(lambda x: cdpo.loss(replace(of, chosen=x), cdpo.Settings())[0].sum(), of.chosen)
    close(slopes, [0.0])


def test_defaults() -> None:
    assert cdpo.Settings().model_dump() == {"beta": 0.1, "label_smoothing": 0.1, "nll_coefficient": 0.0}


@pytest.mark.parametrize("values", [{"beta": 0.0}, {"label_smoothing": 0.5}, {"label_smoothing": -0.1}])
def test_settings_refuse_what_makes_no_sense(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        cdpo.Settings.model_validate(values)
