"""The whole race on a tiny world: search, fourteen contestants, table and plot; and that nothing of it is run twice."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest

from tuningfork import load_recipe
from tuningfork.evals.race import Race, read_race
from tuningfork.report.race import standings
from tuningfork.supervisor import run_recipe

HERE = Path(__file__).parent
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def raced(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Race]:
    out = run_recipe(load_recipe(HERE / "tiny-race.yaml"), tmp_path_factory.mktemp("race") / "run").path
    return out, read_race(out / "seed-0" / "21-race" / "race.json")


def test_everyone_is_measured_alike(raced: tuple[Path, Race]) -> None:
    out, race = raced
    shipped = load_recipe("bakeoff").stages[-1].settings.model_dump()["contestants"]
    assert [one.name for one in race.contestants] == list(shipped), "the tiny race has the contestants of bakeoff"
    names = [measure.name for measure in race.contestants[0].measures]
    assert {"gem_share", "colour_accuracy", "reward", "length", "distinct_2"} <= set(names)
    for one in race.contestants:
        assert [measure.name for measure in one.measures] == names
        before = {m.name: m.before for m in one.measures}
        assert before == {m.name: m.before for m in race.contestants[0].measures}, "one start for all"
        assert one.memory_mb > 0 and one.stage_seconds > 0 and len(one.by_seed) == 1
        wins = one.wins["start"]
        assert wins.wins + wins.ties + wins.losses == len(
            (out / "seed-0/1-world/prompts_test.jsonl").read_text().splitlines()
        )
        assert ("sft" in one.wins) == (one.name != "sft")
        (looks,) = one.looks
        assert len(looks) >= 2 and looks[0].kl == pytest.approx(0, abs=1e-5)
        if one.kind != "best_of":
            assert 0.6 <= one.seconds < 6 and looks[-1].spent == pytest.approx(one.seconds) and one.steps
            assert looks[0].gold == race.contestants[0].looks[0][0].gold, "the look before training is the same for all"


def test_rejection_sampling_pays_for_its_samples(raced: tuple[Path, Race]) -> None:
    out, _ = raced
    sampled = json.loads((out / "seed-0/8-rejection/manifest.json").read_text())["figures"]["spent_seconds"]
    rows = [json.loads(line) for line in (out / "seed-0/9-rejection-sft/metrics.jsonl").read_text().splitlines()]
    first = next(row["spent"] for row in rows if "loss" in row)
    assert 0 < sampled < first < rows[-1]["spent"]


def test_best_of_n_chooses_by_the_reward_on_the_test(raced: tuple[Path, Race]) -> None:
    _, race = raced
    proxies = {one.name: one.measure("reward") for one in race.contestants}
    assert max(proxies, key=lambda name: proxies[name].after or 0.0) == "best of n"  # pyright: ignore[reportOptionalMemberAccess]
    (curve,) = race.of("best of n").looks
    assert [look.kl for look in curve] == sorted(look.kl for look in curve)
    proxies_of_n = [look.proxy or 0.0 for look in curve]
    assert all(a < b for a, b in pairwise(proxies_of_n))


def test_the_search_is_on_another_seed_and_shown(raced: tuple[Path, Race]) -> None:
    out, race = raced
    found = json.loads((out / "search.json").read_text())
    assert found["seed"] == 3 and set(found["contestants"]) == {"sft-chosen", "best-of"}
    assert not list(out.glob("search-*/*-race"))
    page = (out / "report.html").read_text()
    assert "The race" in page and "What was tried before" in page and page.count('class="plot"') >= 1
    for row in standings(race).rows:
        assert row[0] in page
