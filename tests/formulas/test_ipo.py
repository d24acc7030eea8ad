"""IPO against plain floats, summed and a token; its minimum lies at the margin 1 / (2 tau)."""

from dataclasses import replace
from typing import Any

import pairs
import pytest
import torch
from checks import close, gradient
from pairs import Pair, one_pair
from pydantic import ValidationError

from tuningfork.batch import PreferenceNeeds
from tuningfork.methods.preference import ipo, load

METHOD = load("ipo")
EVERYTHING = ipo.Settings(tau=0.5, normalise="sum", nll_coefficient=0.3)


def scalar_loss(pair: Pair, settings: ipo.Settings) -> float:
    h = pair.h
    if settings.normalise == "tokens":
        chosen = (pair.p_chosen - pair.r_chosen) / pair.chosen
        h = chosen - (pair.p_rejected - pair.r_rejected) / pair.rejected
    return (h - 1 / (2 * settings.tau)) ** 2 + settings.nll_coefficient * -pair.p_chosen / pair.chosen


def test_worked_example() -> None:
    # P_c - R_c = 4 over 2 tokens: 2; P_r - R_r = -1 over 4: -1/4; 2.25 - 5 squared, or 5 - 5
    of = replace(
        one_pair(lengths=(2, 4)),
        chosen=torch.tensor([3.0], dtype=torch.float64),
        rejected=torch.tensor([-2.0], dtype=torch.float64),
    )
    close(ipo.loss(of, ipo.Settings())[0], [2.75**2])
    close(ipo.loss(of, ipo.Settings(normalise="sum"))[0], [0.0])


@pytest.mark.parametrize("settings", [ipo.Settings(), EVERYTHING])
def test_loss_and_gradient_match_loops(settings: ipo.Settings) -> None:
    pairs.check_loss(METHOD, settings, lambda pair: scalar_loss(pair, settings))


def test_invariances() -> None:
    pairs.check_invariances(METHOD, EVERYTHING)


def test_direction() -> None:
    pairs.check_direction(METHOD, ipo.Settings())


def test_accuracy() -> None:
    pairs.check_accuracy(METHOD, EVERYTHING)


def test_far_pairs_stay_finite() -> None:
    pairs.check_finite(METHOD, EVERYTHING)


def test_the_reference_is_asked_for() -> None:
    pairs.check_reference_is_asked_for(METHOD, EVERYTHING)
    assert ipo.needs(EVERYTHING) == PreferenceNeeds(reference=True)


@pytest.mark.parametrize("tau", [0.1, 0.5, 2.0])
def test_the_minimum_lies_at_one_over_two_tau(tau: float) -> None:
    settings = ipo.Settings(tau=tau)
    for off, sign in ((0.0, 0), (0.1, 1), (-0.1, -1)):
        of = one_pair(1 / (2 * tau) + off)
        slopes = gradient(lambda x, of=of: ipo.loss(replace(of, chosen=x), settings)[0].sum(), of.chosen)
        close(slopes, [2 * off])
        assert sign == 0 or float(slopes) * sign > 0


def test_with_one_token_each_both_are_one() -> None:
    of = one_pair(1.3)
    close(ipo.loss(of, ipo.Settings())[0], ipo.loss(of, ipo.Settings(normalise="sum"))[0], 1e-12)


def test_only_the_mean_is_blind_to_doubled_tokens() -> None:
    of = pairs.pairs()
    names = ("chosen", "rejected", "ref_chosen", "ref_rejected", "chosen_lengths", "rejected_lengths")
    doubled: Any = {name: 2 * getattr(of, name) for name in names}
    close(ipo.loss(replace(of, **doubled), ipo.Settings())[0], ipo.loss(of, ipo.Settings())[0], 1e-12)
    summed = ipo.Settings(normalise="sum")
    margins = [ipo.loss(batch, summed)[1]["margin"] for batch in (of, replace(of, **doubled))]
    close(margins[1], 2 * margins[0])


def test_defaults() -> None:
    assert ipo.Settings().model_dump() == {"tau": 0.1, "normalise": "tokens", "nll_coefficient": 0.0}


@pytest.mark.parametrize("values", [{"tau": 0.0}, {"normalise": "mean"}])
def test_settings_refuse_what_makes_no_sense(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ipo.Settings.model_validate(values)
