"""DPO against plain floats; log 2 at the reference, sums and not means, the tilt of Bradley-Terry in test_bandits.py."""

import math
from dataclasses import replace
from typing import Any

import pairs
import pytest
from checks import close, gradient
from pairs import Pair, logsig, one_pair, sigmoid
from pydantic import ValidationError

from tuningfork.batch import PreferenceNeeds
from tuningfork.methods.preference import dpo, load

METHOD = load("dpo")
EVERYTHING = dpo.Settings(beta=0.5, nll_coefficient=0.3)


def scalar_loss(pair: Pair, settings: dpo.Settings) -> float:
    return -logsig(settings.beta * pair.h) + settings.nll_coefficient * -pair.p_chosen / pair.chosen


def test_worked_example() -> None:
    # h = log 3 / beta: the chosen one wins with probability 3/4
    losses, metrics = dpo.loss(one_pair(math.log(3) / 0.1), dpo.Settings())
    close(losses, [-math.log(0.75)])
    close([metrics["margin"], metrics["preference_loss"]], [math.log(3), -math.log(0.75)])
    # with the likelihood term: P_c = -2 + 1 over 4 tokens at weight 0.5: + 0.125
    losses, metrics = dpo.loss(one_pair(1.0, lengths=(4, 2)), dpo.Settings(nll_coefficient=0.5))
    close(losses, [-logsig(0.1) + 0.125])
    close(metrics["chosen_nll"], [0.25])
    close(metrics["preference_loss"], [-logsig(0.1)])


@pytest.mark.parametrize("settings", [dpo.Settings(), EVERYTHING])
def test_loss_and_gradient_match_loops(settings: dpo.Settings) -> None:
    pairs.check_loss(METHOD, settings, lambda pair: scalar_loss(pair, settings))


def test_invariances() -> None:
    pairs.check_invariances(METHOD, EVERYTHING)


def test_direction() -> None:
    pairs.check_direction(METHOD, dpo.Settings())


def test_accuracy() -> None:
    pairs.check_accuracy(METHOD, EVERYTHING)


def test_far_pairs_stay_finite() -> None:
    pairs.check_finite(METHOD, EVERYTHING)


def test_the_reference_is_asked_for() -> None:
    pairs.check_reference_is_asked_for(METHOD, EVERYTHING)
    assert dpo.needs(EVERYTHING) == PreferenceNeeds(reference=True)


def test_at_the_reference_the_loss_is_log_2() -> None:
    same = replace(pairs.pairs(), ref_chosen=pairs.pairs().chosen, ref_rejected=pairs.pairs().rejected)
    losses, metrics = METHOD.loss(same, dpo.Settings())
    close(losses, [math.log(2)] * 4)
    close(metrics["accuracy"], [0.5] * 4)
    close(metrics["margin"], [0.0] * 4)


def test_gradient_is_beta_times_the_probability_of_the_wrong_order() -> None:
    of = one_pair(0.7)
    slopes = gradient(lambda x: dpo.loss(replace(of, chosen=x), dpo.Settings(beta=0.5))[0].sum(), of.chosen)
    close(slopes, [-0.5 * sigmoid(-0.35)])


def test_swapping_the_two_turns_the_margin() -> None:
    of = pairs.pairs()
    swapped = replace(
        of, chosen=of.rejected, rejected=of.chosen, ref_chosen=of.ref_rejected, ref_rejected=of.ref_chosen
    )
    first, second = (dpo.loss(batch, dpo.Settings())[1]["margin"] for batch in (of, swapped))
    close(first, -second)


def test_log_probabilities_are_summed_not_averaged() -> None:
    """Every token twice, under the policy and the reference: the margin doubles."""
    of = pairs.pairs()
    names = ("chosen", "rejected", "ref_chosen", "ref_rejected")
    doubled: Any = {name: 2 * getattr(of, name) for name in names}
    lengths: Any = {name: 2 * getattr(of, name) for name in ("chosen_lengths", "rejected_lengths")}
    margins = [dpo.loss(batch, dpo.Settings())[1]["margin"] for batch in (of, replace(of, **doubled, **lengths))]
    close(margins[1], 2 * margins[0])


def test_beta_scales_the_margin() -> None:
    margins = [dpo.loss(pairs.pairs(), dpo.Settings(beta=beta))[1]["margin"] for beta in (0.1, 0.3)]
    close(margins[1], 3 * margins[0])


def test_a_constant_of_the_prompt_does_not_matter() -> None:
    of = pairs.pairs()
    assert of.ref_chosen is not None and of.ref_rejected is not None
    moved = replace(of, ref_chosen=of.ref_chosen + 5, ref_rejected=of.ref_rejected + 5)
    close(dpo.loss(moved, dpo.Settings())[0], dpo.loss(of, dpo.Settings())[0])


def test_defaults() -> None:
    assert dpo.Settings().model_dump() == {"beta": 0.1, "nll_coefficient": 0.0}


@pytest.mark.parametrize("values", [{"beta": 0.0}, {"beta": -0.1}, {"nll_coefficient": -0.1}, {"label_smoothing": 0.1}])
def test_settings_refuse_what_makes_no_sense(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        dpo.Settings.model_validate(values)
