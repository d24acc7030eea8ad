"""What is the same for every contestant of a race, and a contestant's answers: the measuring part of the stage `race`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from tuningfork.evals.race import Contestant, Look, looks_of
from tuningfork.rollout.settings import SamplingSettings
from tuningfork.settings import Input, Settings
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


class Course:
    """What is the same for every contestant: prompts, judges, and the answers of the model before."""

    def __init__(
        self,
        stage: StageContext,
        gold_settings: GoldSettings,
        judge_settings: JudgeSettings,
        sampling: SamplingSettings,
        rows: Sequence[Mapping[str, Any]],
        gold: GoldJudge,
        start: Backbone,
        reward: Reward,
    ) -> None:
        from tuningfork.evals.monitor import deciding_measure
        from tuningfork.evals.win_rate import GoldPairs, RaterPairs

        self.stage, self.rows, self.gold, self.start, self.reward = stage, rows, gold, start, reward
        self.measure, self.monitor_measure = (
            gold_settings.measure,
            gold_settings.monitor_measure or gold_settings.measure,
        )
        self.against, self.sampling = judge_settings.against, sampling
        self.roots = [str(row["root"]) for row in rows]
        self.before = self.answer(start, 1)
        self.before_scores = self.score(self.before)
        decides = deciding_measure(gold, self.measure)
        if judge_settings.by == "rater":
            truth = Path(stage.inputs["gold.truth"].reference)
            self.judge: PairJudge = RaterPairs(gold_settings.name, truth, stage.seed, judge_settings.flip_rate)
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
            backbone, self.rows, self.sampling, seed=self.stage.seed, purpose="test", num_samples=samples
        )

    def score(self, answers: Answers, samples: int = 1) -> list[float | None]:
        """What the reward says of answers, `samples` to each prompt."""
        from tuningfork.evals.proxy import proxy_scores

        return proxy_scores(self.reward, [row for row in self.rows for _ in range(samples)], answers)

    def enter(self, name: str) -> Entry:
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
            entry = Entry(name, answers, scores, kl_bound(samples), clock() - started)
        elif (self.folder(name) / "model").is_dir():
            backbone = load_backbone(str(self.folder(name) / "model"), self.stage.runtime)
            answers = self.answer(backbone, 1)
            nats = kl_per_sequence(backbone, self.start, answers.rollouts, self.sampling.temperature)
            spent = manifest["figures"].get("spent_seconds", manifest["seconds"])
            entry = Entry(name, answers, self.score(answers), sum(nats) / len(nats), spent)
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


class Entry:
    """A contestant's answers to the test prompts."""

    def __init__(self, name: str, answers: Answers, scores: Sequence[float | None], kl: float, seconds: float) -> None:
        self.name, self.answers, self.scores, self.kl, self.seconds = name, answers, scores, kl, seconds

    def finish(self, entries: Mapping[str, Entry], course: Course) -> Contestant:
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
        (decides,) = [measure for measure in measures if measure.name == course.measure]
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

    def _wins(self, entries: Mapping[str, Entry], course: Course) -> dict[str, WinRate]:
        from tuningfork.evals.win_rate import win_rate

        others = {name: course.before if name == START else entries[name].answers for name in course.against}
        return {
            name: win_rate(course.judge, course.rows, other.answers, self.answers.answers, course.stage.seed)
            for name, other in others.items()
            if name != self.name
        }

    def _looks(self, course: Course) -> list[Look]:
        from tuningfork.errors import RecipeError

        metrics = course.folder(self.name) / "metrics.jsonl"
        gold = course.monitor_measure
        rows = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
        looks = looks_of(rows, gold)
        if not looks:
            raise RecipeError(
                f"race.contestants.{self.name}: its stage looked at no {gold}; give it a monitor (best_of: gold) of that judge"
            )
        return looks
