"""The hinge loss against plain floats: nothing moves behind the margin."""

from dataclasses import replace
from typing import Any

import pairs
import pytest
from checks import close, gradient
from pairs import Pair, one_pair
from pydantic import ValidationError

from tuningfork.batch import PreferenceNeeds
from tuningfork.methods.preference import hinge, load

METHOD = load("hinge")
EVERYTHING = hinge.Settings(beta=0.5, nll_coefficient=0.3)


def scalar_loss(pair: Pair, settings: hinge.Settings) -> float:
    return max(0.0, 1 - settings.beta * pair.h) + settings.nll_coefficient * -pair.p_chosen / pair.chosen


def test_worked_example() -> None:
    # beta 0.05: h = 12 is 0.4 short of the margin, h = 30 is past it, h = -4 is 1.2 short
    for h, expected in ((12.0, 0.4), (30.0, 0.0), (-4.0, 1.2)):
        close(hinge.loss(one_pair(h), hinge.Settings())[0], [expected])


@pytest.mark.parametrize("settings", [hinge.Settings(), EVERYTHING])
def test_loss_and_gradient_match_loops(settings: hinge.Settings) -> None:
    pairs.check_loss(METHOD, settings, lambda pair: scalar_loss(pair, settings))


def test_invariances() -> None:
    pairs.check_invariances(METHOD, EVERYTHING)


def test_direction() -> None:
    pairs.check_direction(METHOD, hinge.Settings())


def test_accuracy() -> None:
    pairs.check_accuracy(METHOD, EVERYTHING)


def test_far_pairs_stay_finite() -> None:
    pairs.check_finite(METHOD, EVERYTHING)


def test_the_reference_is_asked_for() -> None:
    pairs.check_reference_is_asked_for(METHOD, EVERYTHING)
    assert hinge.needs(EVERYTHING) == PreferenceNeeds(reference=True)


@pytest.mark.parametrize(("h", "slope"), [(19.0, -0.05), (21.0, 0.0), (-100.0, -0.05)])
def test_the_gradient_ends_at_the_margin(h: float, slope: float) -> None:
    of = one_pair(h)
    slopes = gradient(lambda x: hinge.loss(replace(of, chosen=x), hinge.Settings())[0].sum(), of.chosen)
    close(slopes, [slope])


def test_at_the_reference_the_loss_is_one() -> None:
    same = replace(pairs.pairs(), ref_chosen=pairs.pairs().chosen, ref_rejected=pairs.pairs().rejected)
    close(hinge.loss(same, hinge.Settings())[0], [1.0] * 4)


def test_defaults() -> None:
    assert hinge.Settings().model_dump() == {"beta": 0.05, "nll_coefficient": 0.0}


@pytest.mark.parametrize("values", [{"beta": 0.0}])
def test_settings_refuse_what_makes_no_sense(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        hinge.Settings.model_validate(values)
