"""Robust DPO against plain floats; unbiased under flips, DPO at e = 0."""

import math
from dataclasses import replace
from typing import Any

import pairs
import pytest
from checks import close, gradient
from pairs import Pair, logsig, one_pair, sigmoid
from pydantic import ValidationError

from tuningfork.batch import PreferenceNeeds
from tuningfork.methods.preference import dpo, load, robust_dpo

METHOD = load("robust_dpo")
EVERYTHING = robust_dpo.Settings(beta=0.5, label_smoothing=0.2, nll_coefficient=0.3)


def scalar_loss(pair: Pair, settings: robust_dpo.Settings) -> float:
    e, margin = settings.label_smoothing, settings.beta * pair.h
    return (-(1 - e) * logsig(margin) + e * logsig(-margin)) / (
        1 - 2 * e
    ) + settings.nll_coefficient * -pair.p_chosen / pair.chosen


def test_worked_example() -> None:
    # beta h = log 3: (-0.9 log(3/4) + 0.1 log(1/4)) / 0.8
    losses, _ = robust_dpo.loss(one_pair(math.log(3) / 0.1), robust_dpo.Settings())
    close(losses, [(-0.9 * math.log(0.75) + 0.1 * math.log(0.25)) / 0.8])


@pytest.mark.parametrize("settings", [robust_dpo.Settings(), EVERYTHING])
def test_loss_and_gradient_match_loops(settings: robust_dpo.Settings) -> None:
    pairs.check_loss(METHOD, settings, lambda pair: scalar_loss(pair, settings))


def test_invariances() -> None:
    pairs.check_invariances(METHOD, EVERYTHING)


def test_direction() -> None:
    pairs.check_direction(METHOD, robust_dpo.Settings())


def test_accuracy() -> None:
    pairs.check_accuracy(METHOD, EVERYTHING)


def test_far_pairs_stay_finite() -> None:
    pairs.check_finite(METHOD, EVERYTHING)


def test_the_reference_is_asked_for() -> None:
    pairs.check_reference_is_asked_for(METHOD, EVERYTHING)
    assert robust_dpo.needs(EVERYTHING) == PreferenceNeeds(reference=True)


def test_without_flips_it_is_dpo() -> None:
    ours, _ = robust_dpo.loss(pairs.pairs(), robust_dpo.Settings(label_smoothing=0.0))
    close(ours, dpo.loss(pairs.pairs(), dpo.Settings())[0], 1e-12)


@pytest.mark.parametrize("flipped", [0.1, 0.3, 0.49])
def test_its_mean_over_flipped_labels_is_dpo_on_the_true_ones(flipped: float) -> None:
    of = pairs.pairs()
    turned = replace(of, chosen=of.rejected, rejected=of.chosen, ref_chosen=of.ref_rejected, ref_rejected=of.ref_chosen)
    settings = robust_dpo.Settings(label_smoothing=flipped)
    mean = (1 - flipped) * robust_dpo.loss(of, settings)[0] + flipped * robust_dpo.loss(turned, settings)[0]
    close(mean, dpo.loss(of, dpo.Settings())[0])


def test_a_single_loss_may_be_negative() -> None:
    losses, _ = robust_dpo.loss(one_pair(50.0), robust_dpo.Settings(label_smoothing=0.4))
    assert float(losses) < 0
    of = one_pair(3.0)
    slopes = gradient(lambda x: robust_dpo.loss(replace(of, chosen=x), robust_dpo.Settings())[0].sum(), of.chosen)
    # -beta ((1 - e) sigma(-beta h) + e sigma(beta h)) / (1 - 2 e)
    close(slopes, [-0.1 * (0.9 * sigmoid(-0.3) + 0.1 * sigmoid(0.3)) / 0.8])


def test_defaults() -> None:
    assert robust_dpo.Settings().model_dump() == {"beta": 0.1, "label_smoothing": 0.1, "nll_coefficient": 0.0}


@pytest.mark.parametrize("values", [{"beta": 0.0}, {"label_smoothing": 0.5}, {"label_smoothing": -0.1}])
def test_settings_refuse_what_makes_no_sense(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        robust_dpo.Settings.model_validate(values)
