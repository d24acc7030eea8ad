"""Code that a recipe names runs after --trust, once per content."""

from __future__ import annotations

from pathlib import Path

import pytest

from tuningfork.errors import RecipeError
from tuningfork.recipe import load_recipe
from tuningfork.trust import code_items, require_trust


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's configuration of its own."""
    monkeypatch.setenv("TUNINGFORK_CONFIG", str(tmp_path / "config"))
    return tmp_path / "config"


def test_code_needs_trust_once_per_content(write_recipe, tmp_path: Path, config: Path) -> None:
    reward = tmp_path / "reward.py"
    reward.write_text("def score(rows): return 1\n")
    recipe = load_recipe(write_recipe(f"- steps: {{id: rl, reward: '{reward}:score'}}"))
    said: list[str] = []
    with pytest.raises(RecipeError, match=r"not trusted yet \(rl.reward\); read it, then give --trust once"):
        require_trust(recipe, said.append, trust=False)
    assert str(reward) in said[0] and "(new)" in said[0] and not config.exists()
    require_trust(recipe, said.append, trust=True)
    require_trust(recipe, said.append, trust=False)
    assert "(new)" not in said[-1]
    reward.write_text("def score(rows): return 2\n")
    with pytest.raises(RecipeError, match="not trusted yet"):
        require_trust(recipe, said.append, trust=False)


def test_recipe_without_code_needs_nothing(write_recipe, config: Path) -> None:
    recipe = load_recipe(write_recipe("- steps: {}"))
    said: list[str] = []
    require_trust(recipe, said.append, trust=False)
    assert code_items(recipe) == [] and said == [] and not config.exists()


def test_damaged_list_of_trusted_code_trusts_nothing(write_recipe, config: Path) -> None:
    config.mkdir()
    (config / "trust.json").write_text("{")
    with pytest.raises(RecipeError, match=r"trust.json is not valid JSON"):
        require_trust(load_recipe(write_recipe("- steps: {}")), print, trust=False)
