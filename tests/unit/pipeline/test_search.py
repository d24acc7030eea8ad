"""A search before a run: equally many settings for everyone, on a seed of its own, and the best are what is run."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tuningfork import search
from tuningfork.artifacts.files import write_json
from tuningfork.document import parse
from tuningfork.errors import RecipeError
from tuningfork.recipe import load_recipe
from tuningfork.search import Tried, pick
from tuningfork.supervisor import run_recipe

Write = Callable[..., Path]

STAGES = """
- steps: {}
- tuned: {id: one, data: steps}
- tuned: {id: two, data: steps, budget: 60}
- steps: {id: test, more: [one, two]}
"""
HEAD = """
seeds: [0, 1]
search:
  seed: 7
  measure: gold/good
  kl_limit: 2
  set: {"*.budget": 20, one.budget: 10}
  grid:
    one: [{one.rate: 0.1}, {one.rate: 0.3}, {one.rate: 0.35, one.reach: 9}]
    two: [{two.rate: 0.5, two.reach: 1.5}, {two.rate: 0.3, two.reach: 2.5}, {two.rate: 0.7}]
"""


def tried(*looks: tuple[float, float]) -> list[Tried]:
    return [Tried(values={"a.b": number}, gold=gold, kl=kl) for number, (gold, kl) in enumerate(looks)]


def test_the_best_within_the_limit_is_taken() -> None:
    assert pick(tried((0.5, 1.0), (0.7, 1.9), (0.9, 2.1)), 2.0).chosen == 1
    assert pick(tried((0.5, 1.0), (0.7, 1.9), (0.9, 2.1)), 3.0).chosen == 2
    assert pick(tried((0.7, 1.0), (0.7, 0.5)), 2.0).chosen == 1, "of equals the one of less KL"


def test_where_none_is_within_it_the_nearest_is() -> None:
    found = pick(tried((0.9, 8.0), (0.4, 3.0), (0.8, 5.0)), 2.0)
    assert found.chosen == 1 and found.reason == "nearest to the limit"


def test_a_run_takes_what_its_search_found(write_recipe: Write, tmp_path: Path) -> None:
    path = write_recipe(STAGES, head=HEAD)
    out = run_recipe(load_recipe(path), tmp_path / "run").path
    found = search.read(out)
    assert found is not None and found.seed == 7
    one, two = found.contestants["one"], found.contestants["two"]
    assert (one.chosen, two.chosen) == (1, 0), "0.3 is the best rate; for two it lies beyond the limit of KL"
    assert [look.gold for look in one.tried] == pytest.approx([0.8, 1.0, 0.95]) and one.tried[2].kl == 9
    for seed in (0, 1):
        assert (out / f"seed-{seed}/2-one/result.txt").read_text() == f"{seed} 0.3 None"
        assert (out / f"seed-{seed}/3-two/result.txt").read_text() == f"{seed} 0.5 60.0"
        origin = (out / f"seed-{seed}/recipe.yaml").read_text()
        assert re.search("rate: 0.3 +# search", origin)
    assert (out / "search-0/2-one/result.txt").read_text() == "7 0.1 10.0", "a name wins over *"
    assert (out / "search-0/3-two/result.txt").read_text() == "7 0.5 20.0"
    assert not list(out.glob("search-*/4-test")), "what comes after the last contestant may read the test"
    data = parse((out / "recipe.yaml").read_text(), "recipe.yaml").data
    assert data["search"]["grid"]["one"][1] == {"one.rate": 0.3} and data["search"]["set"]["*.budget"] == 20
    before = {file: file.stat().st_mtime_ns for file in out.glob("s*-*/*-*/COMPLETE.json")}
    run_recipe(load_recipe(out / "recipe.yaml"), out)
    assert len(before) == 3 * 3 + 2 * 4 and before == {file: file.stat().st_mtime_ns for file in before}
    assert not (out / "previous").exists(), "the same command again does nothing"


def test_the_choice_names_the_seeds_and_ends_the_search(write_recipe: Write) -> None:
    recipe = load_recipe(write_recipe(STAGES, head=HEAD.replace("seeds: [0, 1]", "seed: 5")))
    found = search.Found(seed=7, measure="gold/good", kl_limit=2)
    chosen = search.with_choice(recipe, found)
    assert chosen.header.seeds == (5,) and chosen.header.search is None
    assert chosen.with_seed(5).choice == recipe.choice, "test prompts are read with one choice of settings"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (", {two.rate: 0.7}]", "]", "has to try equally many settings"),
        ("    one: [", "    three: [", "there is no stage three"),
        ("{one.rate: 0.1}", "{one.speed: 0.1}", "speed"),
        ('"*.budget": 20', '"*.weight": 20', "no contestant has the setting weight"),
    ],
)
def test_what_cannot_be_searched(write_recipe: Write, old: str, new: str, message: str) -> None:
    assert old in HEAD
    with pytest.raises(RecipeError, match=message):
        search.trials(load_recipe(write_recipe(STAGES, head=HEAD.replace(old, new))))


def test_the_last_look_counts_and_has_to_be_there(tmp_path: Path) -> None:
    rows = [{"step": 0, "monitor/kl": 0.0, "gold/x": 0.1}, {"step": 4, "monitor/kl": 2.0, "gold/x": 0.6}, {"step": 5}]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert search.last_look(tmp_path / "metrics.jsonl", "gold/x") == {"gold": 0.6, "kl": 2.0}
    with pytest.raises(RecipeError, match="has no look with gold/y"):
        search.last_look(tmp_path / "metrics.jsonl", "gold/y")


def test_a_choice_can_be_read_back(tmp_path: Path) -> None:
    assert search.read(tmp_path) is None
    found = search.Found(seed=1, measure="gold/x", kl_limit=2, contestants={"a": pick(tried((0.5, 1.0)), 2)})
    write_json(tmp_path / search.FILE, found.model_dump(mode="json"))
    assert search.read(tmp_path) == found and found.values == {"a.b": 0}
    assert json.loads((tmp_path / search.FILE).read_text())["contestants"]["a"]["reason"] == "best within the limit"
