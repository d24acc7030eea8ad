"""Methods against each other: every contestant answers the same test prompts with the same random numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from tuningfork.evals.race import FILE, Contestant, Look, Race, looks_of, write_race
from tuningfork.reward.settings import RewardSettings
from tuningfork.rollout.settings import SamplingSettings
from tuningfork.settings import Input, ReadOnceInput, Settings
from tuningfork.stage import StageContext

if TYPE_CHECKING:
    from tuningfork.evals.answers import Answers
    from tuningfork.evals.gold import GoldJudge
    from tuningfork.evals.win_rate import PairJudge, WinRate
    from tuningfork.model.backbone import Backbone
    from tuningfork.reward.base import Reward

START = "start"


class GoldSettings(Settings):
    """The gold judge, which is never part of a reward or of a training set."""

    name: str
    """a world (`colours`) or a module of evals (`sentiment`)"""
    truth: Input
    """artifact that holds what the judge knows"""
    measure: str
    """the measure that decides, on the test prompts"""
    monitor_measure: str | None = None
    """the one on the monitor prompts, of which the curves over KL are; empty takes the same"""


class JudgeSettings(Settings):
    """Who compares two answers for the win rates, in both orders."""

    by: Literal["rater", "gold"] = "gold"
    """`rater`: a simulated rater of the gold judge's world, who errs; `gold`: the better one by the deciding measure"""
    flip_rate: float = Field(default=0.12, ge=0, lt=0.5)
    """how often the rater chooses the worse answer"""
    against: tuple[str, ...] = (START,)
    """contestants that all others are compared with; `start` is the model before"""


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
    course = _Course(stage, settings, rows, gold, start, reward)
    entries = {name: course.enter(name) for name in settings.contestants}
    contestants = [entries[name].finish(entries, course) for name in settings.contestants]
    race = Race(
        seeds=[stage.seed],
        gold=settings.gold.measure,
        monitor_gold=settings.gold.monitor_measure or settings.gold.measure,
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


class _Course:
    """What is the same for every contestant: prompts, judges, and the answers of the model before."""

    def __init__(
        self,
        stage: StageContext,
        settings: StageSettings,
        rows: Sequence[Mapping[str, Any]],
        gold: GoldJudge,
        start: Backbone,
        reward: Reward,
    ) -> None:
        from tuningfork.evals.monitor import deciding_measure
        from tuningfork.evals.win_rate import GoldPairs, RaterPairs

        self.stage, self.settings, self.rows, self.gold, self.reward = stage, settings, rows, gold, reward
        self.start = start
        self.roots = [str(row["root"]) for row in rows]
        self.before = self.answer(start, 1)
        self.before_scores = self.score(self.before)
        decides = deciding_measure(gold, settings.gold.measure)
        if settings.judge.by == "rater":
            truth = Path(stage.inputs["gold.truth"].reference)
            self.judge: PairJudge = RaterPairs(settings.gold.name, truth, stage.seed, settings.judge.flip_rate)
        else:
            self.judge = GoldPairs(gold, decides)

    def manifest(self, name: str) -> Mapping[str, Any]:
        """The manifest of a contestant's stage."""
        return self.stage.inputs[f"contestants.{name}"].manifest

    def folder(self, name: str) -> Path:
        """The folder of a contestant's stage."""
        return Path(self.stage.inputs[f"contestants.{name}"].reference)

    def answer(self, backbone: Backbone, samples: int) -> Answers:
        """Answers to the test prompts, `samples` to each; equal random numbers for every model."""
        from tuningfork.evals.answers import answer_prompts

        return answer_prompts(
            backbone, self.rows, self.settings.sampling, seed=self.stage.seed, purpose="test", num_samples=samples
        )

    def score(self, answers: Answers, samples: int = 1) -> list[float | None]:
        """What the reward says of answers, `samples` to each prompt."""
        from tuningfork.evals.proxy import proxy_scores

        return proxy_scores(self.reward, [row for row in self.rows for _ in range(samples)], answers)

    def enter(self, name: str) -> _Entry:
        """A contestant with its answers."""
        from tuningfork.errors import RecipeError
        from tuningfork.evals.kl import kl_per_sequence
        from tuningfork.methods.best_of import kl_bound
        from tuningfork.model.loading import load_backbone
        from tuningfork.train.budget import compute_clock

        manifest = self.manifest(name)
        if manifest["kind"] == "best_of":
            samples, clock = int(manifest["settings"]["samples"]), compute_clock(self.stage.runtime.device)
            started = clock()
            answers, scores = self._best_of(samples)
            entry = _Entry(name, answers, scores, kl_bound(samples), clock() - started)
        elif (self.folder(name) / "model").is_dir():
            backbone = load_backbone(str(self.folder(name) / "model"), self.stage.runtime)
            answers = self.answer(backbone, 1)
            nats = kl_per_sequence(backbone, self.start, answers.rollouts)
            spent = manifest["figures"].get("spent_seconds", manifest["seconds"])
            entry = _Entry(name, answers, self.score(answers), sum(nats) / len(nats), spent)
        else:
            raise RecipeError(f"race.contestants.{name}: the stage {manifest['id']} has no model")
        self.stage.events.say(f"{name}: {entry.kl:.2f} nats a response")
        return entry

    def _best_of(self, samples: int) -> tuple[Answers, list[float | None]]:
        """Of `samples` answers to each prompt the one with the highest score, the first of several."""
        from tuningfork.evals.answers import Answers

        found = self.answer(self.start, samples)
        scores = self.score(found, samples)
        chosen = [
            max(range(at, at + samples), key=lambda i: float("-inf") if scores[i] is None else float(scores[i] or 0.0))
            for at in range(0, len(scores), samples)
        ]
        picked = Answers([found.rollouts[i] for i in chosen], [found.answers[i] for i in chosen])
        return picked, [scores[i] for i in chosen]


class _Entry:
    """A contestant's answers to the test prompts."""

    def __init__(self, name: str, answers: Answers, scores: Sequence[float | None], kl: float, seconds: float) -> None:
        self.name, self.answers, self.scores, self.kl, self.seconds = name, answers, scores, kl, seconds

    def finish(self, entries: Mapping[str, _Entry], course: _Course) -> Contestant:
        """The contestant as it is recorded."""
        from tuningfork.evals.gold import gold_measures, judge_both
        from tuningfork.evals.proxy import proxy_measure
        from tuningfork.evals.style import style_measures

        before, seed, manifest = course.before, course.stage.seed, course.manifest(self.name)
        judged = judge_both(course.gold, course.rows, before.answers, self.answers.answers)
        measures = [
            *gold_measures(course.gold, {}, course.rows, judged, seed),
            *proxy_measure(course.before_scores, self.scores, course.roots, seed),
            *style_measures(
                before, self.answers, course.roots, seed, length_ratio=None, distinct_ratio=None, eos_minimum=None
            ),
        ]
        (decides,) = [measure for measure in measures if measure.name == course.settings.gold.measure]
        assert decides.after is not None
        return Contestant(
            name=self.name,
            kind=manifest["kind"],
            method=str((manifest["settings"].get("method") or {}).get("name", manifest["kind"])),
            measures=measures,
            kl=self.kl,
            seconds=self.seconds,
            stage_seconds=manifest["seconds"],
            memory_mb=manifest["peak_memory_mb"],
            steps=manifest["figures"].get("optimizer_steps"),
            wins=self._wins(entries, course),
            looks=[self._looks(course)],
            by_seed=[decides.after],
        )

    def _wins(self, entries: Mapping[str, _Entry], course: _Course) -> dict[str, WinRate]:
        from tuningfork.evals.win_rate import win_rate

        others = {
            name: course.before if name == START else entries[name].answers for name in course.settings.judge.against
        }
        return {
            name: win_rate(course.judge, course.rows, other.answers, self.answers.answers, course.stage.seed)
            for name, other in others.items()
            if name != self.name
        }

    def _looks(self, course: _Course) -> list[Look]:
        from tuningfork.errors import RecipeError

        metrics = course.folder(self.name) / "metrics.jsonl"
        gold = course.settings.gold.monitor_measure or course.settings.gold.measure
        rows = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
        looks = looks_of(rows, gold)
        if not looks:
            raise RecipeError(
                f"race.contestants.{self.name}: its stage looked at no {gold}; give it a monitor (best_of: gold) of that judge"
            )
        return looks


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
    entries: Mapping[str, _Entry],
) -> None:
    """Answers of everyone to prompts drawn at random."""
    from tuningfork.randomness import numpy_generator

    for index in sorted(numpy_generator(stage.seed, "shown").permutation(len(rows))[: settings.shown].tolist()):
        stage.sample(
            prompt=rows[index]["prompt"],
            **{START: before.answers[index].text},
            **{name: entry.answers.answers[index].text for name, entry in entries.items()},
        )
