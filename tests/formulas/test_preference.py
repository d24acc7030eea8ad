"""Preference methods are found by name; those for pairs agree on what a reference costs."""

from typing import Any

import pairs
import pytest
from pydantic import TypeAdapter, ValidationError

from tuningfork.errors import RecipeError
from tuningfork.methods import preference


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
