"""RPO against plain floats: DPO and the likelihood of the chosen response."""

import math
from dataclasses import replace
from typing import Any

import pairs
import pytest
from checks import close, gradient
from pairs import Pair, logsig, one_pair
from pydantic import ValidationError

from tuningfork.batch import PreferenceNeeds
from tuningfork.methods.preference import dpo, load, rpo

METHOD = load("rpo")
EVERYTHING = rpo.Settings(beta=0.5, nll_coefficient=0.3)


def scalar_loss(pair: Pair, settings: rpo.Settings) -> float:
    return -logsig(settings.beta * pair.h) + settings.nll_coefficient * -pair.p_chosen / pair.chosen


def test_worked_example() -> None:
    # h = log 3 / beta; P_c = -2 + 10 log 3 over 4 tokens
    losses, metrics = rpo.loss(one_pair(math.log(3) / 0.1, lengths=(4, 2)), rpo.Settings())
    close(losses, [-math.log(0.75) + (2 - 10 * math.log(3)) / 4])
    close(metrics["preference_loss"], [-math.log(0.75)])


@pytest.mark.parametrize("settings", [rpo.Settings(), EVERYTHING])
def test_loss_and_gradient_match_loops(settings: rpo.Settings) -> None:
    pairs.check_loss(METHOD, settings, lambda pair: scalar_loss(pair, settings))


def test_invariances() -> None:
    pairs.check_invariances(METHOD, EVERYTHING)


def test_direction() -> None:
    pairs.check_direction(METHOD, rpo.Settings())


def test_accuracy() -> None:
    pairs.check_accuracy(METHOD, EVERYTHING)


def test_far_pairs_stay_finite() -> None:
    pairs.check_finite(METHOD, EVERYTHING)


def test_the_reference_is_asked_for() -> None:
    pairs.check_reference_is_asked_for(METHOD, EVERYTHING)
    assert rpo.needs(EVERYTHING) == PreferenceNeeds(reference=True)


def test_it_is_dpo_with_the_term() -> None:
    for batch in (pairs.pairs(), one_pair(2.0)):
        ours, _ = rpo.loss(batch, rpo.Settings(beta=0.2, nll_coefficient=0.7))
        close(ours, dpo.loss(batch, dpo.Settings(beta=0.2, nll_coefficient=0.7))[0], 1e-12)


def test_the_term_alone_pulls_the_chosen_response_up() -> None:
    """Where the pair is decided, DPO no longer moves; the likelihood still does."""
    of = one_pair(1e4)
    slopes = gradient(lambda x: rpo.loss(replace(of, chosen=x), rpo.Settings())[0].sum(), of.chosen)
    close(slopes, [-1.0])


def test_defaults() -> None:
    assert rpo.Settings().model_dump() == {"beta": 0.1, "nll_coefficient": 1.0}


@pytest.mark.parametrize("values", [{"beta": 0.0}, {"nll_coefficient": 0.0}])
def test_settings_refuse_what_makes_no_sense(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        rpo.Settings.model_validate(values)
