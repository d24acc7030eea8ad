"""Races: what counts as a look, several seeds as one, equal KL over seeds, and the tables made of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tuningfork.errors import RunError
from tuningfork.evals.race import Contestant, Look, Race, combine_races, fits, looks_of, read_race, write_race
from tuningfork.evals.summary import Measure, SeedValue
from tuningfork.evals.win_rate import WinRate
from tuningfork.report import race as tables


def looks(*points: tuple[float, float]) -> list[Look]:
    return [Look(step=n, kl=kl, gold=gold, proxy=2 * gold, length=6) for n, (kl, gold) in enumerate(points)]


def contestant(name: str, seed: int, gold: float, curve: list[Look], **more: Any) -> Contestant:
    value = SeedValue(seed=seed, before=0.1, after=gold, difference=gold - 0.1)
    found = Measure(
        name="gem_share", role="headline", direction="higher", before=0.1, after=gold, difference=gold - 0.1,
        ci95=(gold - 0.2, gold), p=0.01, n=10, num_roots=10, per_seed=[value],
    )  # fmt: skip
    win = WinRate(wins=int(10 * gold), ties=0, losses=10 - int(10 * gold), inconsistent=0, rate=gold, ci95=(0.2, 0.8))
    values: dict[str, Any] = {"kind": "rl", "method": name, "kl": curve[-1].kl, "seconds": 60.0, "steps": 40}
    values |= {"stage_seconds": 90.0, "memory_mb": 700.0 + seed, "wins": {"start": win}, "by_seed": [gold]}
    return Contestant(name=name, measures=[found], looks=[curve], **(values | more))


def race(seed: int, *entered: Contestant) -> Race:
    return Race(seeds=[seed], gold="gem_share", monitor_gold="gem_share", budget=60, contestants=list(entered))


@pytest.fixture
def both() -> Race:
    first = looks((0, 0.1), (2, 0.5), (4, 0.9)), looks((0, 0.1), (2, 0.4))
    second = looks((0, 0.1), (1, 0.3), (2, 0.7)), looks((0, 0.1), (0.5, 0.2))
    return combine_races(
        [
            race(0, contestant("ppo", 0, 0.8, first[0]), contestant("dpo", 0, 0.4, first[1])),
            race(1, contestant("ppo", 1, 0.6, second[0]), contestant("dpo", 1, 0.2, second[1])),
        ]
    )


def test_seeds_become_one_race(both: Race) -> None:
    ppo = both.of("ppo")
    assert both.seeds == [0, 1] and ppo.by_seed == [0.8, 0.6] and len(ppo.looks) == 2
    gold = ppo.measure("gem_share")
    assert gold is not None and gold.after == pytest.approx(0.7) and gold.ci95 == pytest.approx((0.5, 0.7))
    assert ppo.memory_mb == 701.0 and ppo.kl == 3.0 and (ppo.wins["start"].wins, ppo.wins["start"].losses) == (14, 6)


def test_equal_kl_is_a_mean_over_the_seeds_that_get_there(both: Race) -> None:
    assert both.of("ppo").gold_at(2.0) == (pytest.approx(0.6), 2)  # 0.5 and 0.7
    assert both.of("ppo").gold_at(3.0) == (pytest.approx(0.7), 1)  # half way from 0.5 to 0.9; the other seed ends at 2
    assert both.of("dpo").gold_at(2.0) == (pytest.approx(0.4), 1)
    assert both.of("dpo").gold_at(4.0) == (None, 0) and both.of("dpo").most_kl == 2
    rows = {row[0]: row[1:] for row in tables.at_equal_kl(both).rows}
    assert tables.shown_levels(both) == [0.25, 0.5], "levels that two contestants reach under every seed"
    assert rows["dpo"][-1] == "2.00"


def test_who_never_gets_there_is_said() -> None:
    found = race(
        0,
        contestant("far", 0, 0.8, looks((0, 0.1), (4, 0.9))),
        contestant("also", 0, 0.7, looks((0, 0.1), (4, 0.8))),
        contestant("near", 0, 0.2, looks((0, 0.1), (0.3, 0.2))),
    )
    table = tables.at_equal_kl(found)
    assert table.columns[-2] == "at 4 nats"
    assert [row[-2] for row in table.rows] == ["0.900", "0.800", "never reached"]
    assert "at 4 nats, which 2 reach: far, 0.900" in tables.sentence(found)


def test_the_standings_are_ordered_and_complete(both: Race) -> None:
    table = tables.standings(both)
    assert [row[0] for row in table.rows] == ["ppo", "dpo", "start"]
    assert all(len(row) == len(table.columns) for row in table.rows)
    assert table.rows[0][1] == "0.700" and table.rows[0][2] == "+0.600 [+0.500, +0.700]"


def test_plots_and_laws_are_drawn(both: Race) -> None:
    drawn = str(tables.gold_plot(both))
    assert drawn.startswith("<svg") and ">ppo<" in drawn and ">dpo<" in drawn
    law = fits(both.contestants, "gold")
    assert law is not None and law.num_points == 6 and law.form == "reinforcement learning"
    assert any(row[0] == "reinforcement learning together" for row in tables.laws(both).rows)
    assert "polyline" in str(tables.law_plot(both, "proxy"))


def test_looks_of_a_monitor_and_of_best_of_n() -> None:
    monitor = [
        {"step": 0, "monitor/kl": 0.0, "gold/x": 0.1, "monitor/score_mean": 1.0, "monitor/response_length": 5.0},
        {"step": 1, "loss": 0.5, "score_mean": 9.0},
        {"step": 2, "spent": 30.0, "monitor/kl": 1.0, "gold/x": 0.5, "monitor/response_length": 6.0, "score_mean": 9.0},
    ]
    found = looks_of(monitor, "x")
    assert [(look.step, look.kl, look.gold, look.proxy, look.spent) for look in found] == [
        (0, 0.0, 0.1, 1.0, None), (2, 1.0, 0.5, None, 30.0)
    ]  # fmt: skip
    (best,) = looks_of([{"step": 4, "kl_bound": 0.6, "gold/x": 0.2, "score_mean": 1.5, "response_length": 7.0}], "x")
    assert (best.kl, best.proxy, best.length) == (0.6, 1.5, 7.0)
    assert looks_of(monitor, "y") == []


def test_a_race_is_read_back_and_others_are_refused(both: Race, tmp_path: Path) -> None:
    write_race(both, tmp_path / "race.json")
    assert read_race(tmp_path / "race.json") == both
    (tmp_path / "race.json").write_text('{"version": 9}')
    with pytest.raises(RunError, match="race of version 9"):
        read_race(tmp_path / "race.json")
    with pytest.raises(RunError, match="different contestants"):
        combine_races([race(0, both.of("ppo")), race(1, both.of("dpo"))])
