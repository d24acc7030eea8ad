"""A file in a package of methods is a method: a new one in any folder is found, loaded and set by name."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter

from tuningfork.errors import RecipeError
from tuningfork.methods import finding, preference

TOY = """
from pydantic import Field

import tuningfork.settings
from tuningfork.batch import PreferenceNeeds


class Settings(tuningfork.settings.Settings):
    strength: float = Field(default=2.0, gt=0)


def needs(settings):
    return PreferenceNeeds()


def loss(batch, settings):
    return settings.strength * (batch.rejected - batch.chosen), {}
"""


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "toy_margin.py").write_text(TOY, encoding="utf-8")
    monkeypatch.setattr(preference, "__path__", [*preference.__path__, str(tmp_path)])
    yield
    sys.modules.pop("tuningfork.methods.preference.toy_margin", None)


def test_a_method_is_one_file(toy: Any) -> None:
    assert "toy_margin" in preference.names()
    choice: TypeAdapter[Any] = TypeAdapter(preference.settings_choice())
    settings: Any = choice.validate_python({"name": "toy_margin", "strength": 3.0})
    import pairs

    of = pairs.one_pair(0.5)
    losses, _ = preference.load("toy_margin").loss(of, settings)
    assert torch.equal(losses, 3.0 * (of.rejected - of.chosen))


def test_names_are_those_of_the_files_in_order(tmp_path: Path) -> None:
    for name in ("b", "a", "c"):
        (tmp_path / f"{name}.py").write_text("", encoding="utf-8")
    assert finding.names_in([str(tmp_path)]) == ["a", "b", "c"]


def test_unknown_names() -> None:
    with pytest.raises(RecipeError, match=r"no method 'alphq': did you mean 'alpha'\?"):
        finding.load_from("package", "alphq", ["alpha", "beta"], "method")
    with pytest.raises(RecipeError, match=r"no method 'zzz': there are: alpha, beta\."):
        finding.load_from("package", "zzz", ["alpha", "beta"], "method")
