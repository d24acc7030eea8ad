"""Methods against each other: every contestant answers the same test prompts with the same random numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from tuningfork.evals.contest import START, Course, GoldSettings, JudgeSettings
from tuningfork.evals.race import FILE, Contestant, Race, write_race
from tuningfork.reward.settings import RewardSettings
from tuningfork.rollout.settings import SamplingSettings
from tuningfork.settings import Input, ReadOnceInput, Settings
from tuningfork.stage import StageContext

if TYPE_CHECKING:
    from tuningfork.evals.answers import Answers
    from tuningfork.evals.contest import Entry


class StageSettings(Settings):
    """Settings of the stage `race`."""

    start: Input = "sft/model"
    """model that every contestant started from"""
    contestants: dict[str, Input] = Field(min_length=1)
    """name -> stage that made it: `rl`, `preference`, `sft`, or `best_of`, which chooses anew among its n answers"""
    prompts: ReadOnceInput
    """test prompts: `{"id", "prompt", "root"}` rows; read here and nowhere else, and with one choice of settings"""
    gold: GoldSettings
    """who decides"""
    reward: RewardSettings
    """what was optimised, reported as the proxy; best of n chooses by it"""
    judge: JudgeSettings = JudgeSettings()
    """who compares answers"""
    sampling: SamplingSettings = SamplingSettings(max_new_tokens=40)
    """how answers are drawn, for all alike"""
    shown: int = Field(default=40, ge=0)
    """test prompts whose answers go to the samples"""


def run(stage: StageContext, settings: StageSettings) -> None:
    """Answer, judge, compare; write race.json, a row of metrics and a few answers a contestant."""
    from tuningfork.data.jsonl import read_jsonl
    from tuningfork.evals.gold import load_gold
    from tuningfork.model.loading import load_backbone
    from tuningfork.reward import load_reward

    _check(settings)
    rows = read_jsonl(stage.inputs["prompts"].reference, required=("id", "prompt", "root"))
    gold = load_gold(settings.gold.name, Path(stage.inputs["gold.truth"].reference))
    start = load_backbone(stage.inputs["start"].reference, stage.runtime)
    reward = load_reward(settings.reward, stage.inputs, stage.runtime, tokenizer=start.tokenizer)
    course = Course(stage, settings.gold, settings.judge, settings.sampling, rows, gold, start, reward)
    entries = {name: course.enter(name) for name in settings.contestants}
    contestants = [entries[name].finish(entries, course) for name in settings.contestants]
    race = Race(
        seeds=[stage.seed],
        gold=settings.gold.measure,
        monitor_gold=course.monitor_measure,
        budget=max(
            (b for name in settings.contestants if (b := course.manifest(name)["settings"].get("budget"))), default=None
        ),
        judge=settings.judge.by,
        contestants=contestants,
    )
    write_race(race, stage.out / FILE)
    for place, contestant in enumerate(contestants):
        stage.events.log(step=place, **_figures(contestant, race.gold))
    _write_samples(stage, settings, rows, course.before, entries)
    best = max(contestants, key=lambda one: one.by_seed[0])
    stage.figures.update({f"{one.name}/{race.gold}": one.by_seed[0] for one in contestants}, tests=len(rows))
    stage.events.say(f"highest {race.gold}: {best.name}, {best.by_seed[0]:.3f} at {best.kl:.2f} nats")


def _check(settings: StageSettings) -> None:
    from tuningfork.errors import RecipeError

    for name in settings.judge.against:
        if name != START and name not in settings.contestants:
            raise RecipeError(
                f"race.judge.against: {name} is no contestant; there are {', '.join(settings.contestants)}"
            )
    if START in settings.contestants:
        raise RecipeError(f"race.contestants: {START} is the model before; call the contestant otherwise")


def _figures(contestant: Contestant, gold: str) -> dict[str, Any]:
    decides = contestant.measure(gold)
    return {
        "contestant": contestant.name,
        f"gold/{gold}": decides.after if decides else None,
        "kl": contestant.kl,
        "spent": contestant.seconds,
        **{f"win_rate/{name}": one.rate for name, one in contestant.wins.items()},
    }


def _write_samples(
    stage: StageContext,
    settings: StageSettings,
    rows: Sequence[Mapping[str, Any]],
    before: Answers,
    entries: Mapping[str, Entry],
) -> None:
    """Answers of everyone to prompts drawn at random."""
    from tuningfork.randomness import numpy_generator

    for index in sorted(numpy_generator(stage.seed, "shown").permutation(len(rows))[: settings.shown].tolist()):
        stage.sample(
            prompt=rows[index]["prompt"],
            **{START: before.answers[index].text},
            **{name: entry.answers.answers[index].text for name, entry in entries.items()},
        )
