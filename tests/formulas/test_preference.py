"""Preference methods are found by name; those for pairs agree on what a reference costs."""

import math
from typing import Any

import pairs
import pytest
import torch
from checks import close
from pydantic import TypeAdapter, ValidationError

from tuningfork.batch import PairLogprobs, TextLogprobs
from tuningfork.errors import RecipeError
from tuningfork.methods import preference
from tuningfork.methods.preference import load, names


def test_every_method_loads_and_offers_the_interface() -> None:
    wanted = ["cdpo", "dpo", "hinge", "ipo", "kto", "orpo", "robust_dpo", "rpo", "simpo", "slic"]
    assert set(wanted) <= set(preference.names()) and preference.names() == sorted(preference.names())
    for name in preference.names():
        method = preference.load(name)
        needs = method.needs(method.Settings())
        if not needs.unpaired:
            losses, metrics = method.loss(pairs.pairs(reference=needs.reference), method.Settings())
            assert losses.shape == (4,) and {"preference_loss", "margin", "accuracy"} <= metrics.keys()


def test_a_near_miss_is_corrected() -> None:
    with pytest.raises(RecipeError, match=r"no preference method 'dop': did you mean 'dpo'\?"):
        preference.load("dop")


def test_settings_are_chosen_by_name_and_checked_by_their_method() -> None:
    choice: TypeAdapter[Any] = TypeAdapter(preference.settings_choice())
    chosen: Any = choice.validate_python({"name": "ipo", "normalise": "sum"})
    assert (chosen.name, chosen.normalise, chosen.tau) == ("ipo", "sum", 0.1)
    assert isinstance(chosen, preference.load("ipo").Settings)
    for wrong in ({"name": "dpo", "tau": 1.0}, {"name": "kto", "beta": 0.0}, {"name": "ppo"}):
        with pytest.raises(ValidationError):
            choice.validate_python(wrong)


@pytest.mark.parametrize("name", [name for name in names() if hasattr(load(name), "start_loss")])
def test_where_the_policy_is_the_reference_the_loss_is_what_the_method_says(name: str) -> None:
    """log 2 for DPO and its kin, 1 for the hinge, the squared margin for IPO, half the weight for KTO."""
    method: Any = load(name)
    logprobs, lengths = torch.tensor([-3.0, -5.0], dtype=torch.float64), torch.tensor([2, 4])
    known: Any
    if name == "kto":
        settings = method.Settings(desirable_weight=0.5, undesirable_weight=3.0)
        known = TextLogprobs(logprobs=logprobs, ref_logprobs=logprobs, is_desirable=torch.tensor([True, False]), kl=0.0)
        expected = [0.25, 1.5]
    else:
        settings = method.Settings()
        known = PairLogprobs(
            chosen=logprobs,
            rejected=logprobs - 1,
            ref_chosen=logprobs,
            ref_rejected=logprobs - 1,
            chosen_lengths=lengths,
            rejected_lengths=lengths,
        )
        expected = [{"hinge": 1.0, "ipo": 25.0}.get(name, math.log(2))] * 2
    close(method.start_loss(known, settings), expected)
    close(method.loss(known, settings)[1]["preference_loss"], expected)


def test_every_method_that_is_measured_from_a_reference_says_where_it_starts() -> None:
    for name in names():
        method: Any = load(name)
        assert hasattr(method, "start_loss") is method.needs(method.Settings()).reference, name
