"""Policy methods are found by name."""

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from tuningfork.errors import RecipeError
from tuningfork.methods import policy


def test_every_method_loads_and_offers_the_interface() -> None:
    assert "ppo" in policy.names()
    assert policy.names() == sorted(policy.names())
    for name in policy.names():
        method = policy.load(name)
        settings = method.Settings()
        assert method.needs(settings) is not None
        assert callable(method.advantages) and callable(method.token_loss)
        assert method.average in ("token_mean", "sequence_mean", "sequence_sum", "constant")


def test_a_near_miss_is_corrected() -> None:
    with pytest.raises(RecipeError, match=r"no policy method 'pppo': did you mean 'ppo'\?"):
        policy.load("pppo")


def test_a_far_miss_lists_what_there_is() -> None:
    with pytest.raises(RecipeError, match=r"there are: .*ppo"):
        policy.load("quantum")


def test_names_from_outside_the_package_are_unknown() -> None:
    with pytest.raises(RecipeError):
        policy.load("..average")


def test_settings_are_chosen_by_name_and_checked_by_their_method() -> None:
    choice: TypeAdapter[Any] = TypeAdapter(policy.settings_choice())
    chosen: Any = choice.validate_python({"name": "ppo", "clip_range": 0.3})
    assert (chosen.name, chosen.clip_range, chosen.lam) == ("ppo", 0.3, 0.95)
    assert isinstance(chosen, policy.load("ppo").Settings)
    for wrong in ({"name": "ppo", "clip_range": 2.0}, {"name": "ppo", "clip_rang": 0.3}, {"name": "quantum"}):
        with pytest.raises(ValidationError):
            choice.validate_python(wrong)


def test_settings_of_several_methods_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    one = policy.load("ppo")
    monkeypatch.setattr(policy, "names", lambda: ["average", "ppo"])
    monkeypatch.setattr(policy, "load", lambda name: one)
    choice: TypeAdapter[Any] = TypeAdapter(policy.settings_choice())
    assert choice.validate_python({"name": "average"}).name == "average"
    assert choice.validate_python({"name": "ppo"}).name == "ppo"
    with pytest.raises(ValidationError, match="tag"):
        choice.validate_python({"name": "quantum"})
