"""SLiC-HF against plain floats: no reference, a hinge on likelihoods and a likelihood."""

from dataclasses import replace
from typing import Any

import pairs
import pytest
import torch
from checks import close, gradient
from pairs import Pair, one_pair
from pydantic import ValidationError

from tuningfork.batch import PreferenceNeeds
from tuningfork.methods.preference import hinge, load, slic

METHOD = load("slic")
EVERYTHING = slic.Settings(delta=2.5, regulariser=0.3, normalise="tokens")


def scalar_loss(pair: Pair, settings: slic.Settings) -> float:
    chosen, rejected = pair.p_chosen, pair.p_rejected
    if settings.normalise == "tokens":
        chosen, rejected = chosen / pair.chosen, rejected / pair.rejected
    return max(0.0, settings.delta - chosen + rejected) - settings.regulariser * chosen


def test_worked_example() -> None:
    # P_c = -1.5, P_r = -2, delta 1: 0.5 short; 0.1 * 1.5 of likelihood
    losses, metrics = slic.loss(one_pair(0.5), slic.Settings())
    close(losses, [0.5 + 0.15])
    close([metrics["preference_loss"], metrics["margin"]], [0.5, 0.5])
    # a token: -1.5 / 3 and -2 / 2: 0.5 apart, so 0.5 short again; 0.1 * 0.5
    close(slic.loss(one_pair(0.5, lengths=(3, 2)), slic.Settings(normalise="tokens"))[0], [0.55])


@pytest.mark.parametrize("settings", [slic.Settings(), EVERYTHING])
def test_loss_and_gradient_match_loops(settings: slic.Settings) -> None:
    pairs.check_loss(METHOD, settings, lambda pair: scalar_loss(pair, settings))


def test_invariances() -> None:
    pairs.check_invariances(METHOD, EVERYTHING)


def test_direction() -> None:
    pairs.check_direction(METHOD, slic.Settings(delta=50.0))


def test_accuracy() -> None:
    pairs.check_accuracy(METHOD, EVERYTHING)


def test_far_pairs_stay_finite() -> None:
    pairs.check_finite(METHOD, EVERYTHING)


def test_no_reference_is_needed() -> None:
    assert slic.needs(EVERYTHING) == PreferenceNeeds()
    without = METHOD.loss(pairs.pairs(reference=False), EVERYTHING)[0]
    close(METHOD.loss(pairs.pairs(), EVERYTHING)[0], without, 1e-12)


def test_behind_the_margin_only_the_likelihood_moves() -> None:
    of = one_pair(3.0)
    for name, slope in (("chosen", -0.1), ("rejected", 0.0)):
        slopes = gradient(
            lambda x, name=name: slic.loss(replace(of, **{name: x}), slic.Settings())[0].sum(), getattr(of, name)
        )
        close(slopes, [slope])


def test_without_regulariser_it_is_the_hinge_on_log_ratios_to_a_flat_reference() -> None:
    of = pairs.pairs()
    flat = replace(of, ref_chosen=torch.zeros_like(of.chosen), ref_rejected=torch.zeros_like(of.chosen))
    ours, _ = slic.loss(of, slic.Settings(regulariser=0.0))
    close(ours, hinge.loss(flat, hinge.Settings(beta=1.0))[0], 1e-12)


def test_defaults() -> None:
    assert slic.Settings().model_dump() == {"delta": 1.0, "regulariser": 0.1, "normalise": "sum"}


@pytest.mark.parametrize("values", [{"delta": 0.0}, {"regulariser": -0.1}, {"normalise": "mean"}])
def test_settings_refuse_what_makes_no_sense(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        slic.Settings.model_validate(values)
