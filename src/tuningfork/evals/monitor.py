"""A look at the policy on monitor prompts while it trains: score and gold, KL, lengths; what stops it and what is kept.

The looks, the one before training included, are rows of the stage's metrics with `monitor/kl` in them: a curve over KL
that is measured alike whatever trains, reinforcement learning, preferences or demonstrations.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from tuningfork.artifacts.files import write_text
from tuningfork.errors import RecipeError, RunError
from tuningfork.reward.settings import RewardSettings
from tuningfork.rollout.settings import SamplingSettings
from tuningfork.settings import Input, Settings

if TYPE_CHECKING:
    from torch import nn

    from tuningfork.evals.gold import Answer, GoldJudge, GoldMeasure
    from tuningfork.model.backbone import Backbone
    from tuningfork.rollout.rollout import Prompt
    from tuningfork.stage import StageContext
    from tuningfork.streams.scoring import ScoringSampler
    from tuningfork.train.loop import Hook


class MonitorSettings(Settings):
    """What is looked at during training, on prompts that are neither trained on nor part of the test."""

    prompts: Input
    """prompts to answer"""
    every: int | None = Field(default=None, ge=1)
    """iterations (of `rl`) or optimizer steps between two looks; empty means 10, or as `shares` say"""
    shares: tuple[Annotated[float, Field(gt=0, le=1)], ...] = ()
    """with a `budget`: shares of it after which to look, instead of `every`; the last step always has a look"""
    limit: int = Field(default=128, ge=1)
    """how many of the prompts are used"""
    gold: str | None = None
    """name of a gold judge that looks too; what it sees is drawn beside the reward and never rewarded"""
    truth: Input | None = None
    """artifact that holds what the gold judge knows"""
    gold_measure: str | None = None
    """the measure by which `keep` and the rehearsal go; empty takes the judge's first headline measure"""
    keep: Literal["last", "best"] = "last"
    """the weights a run ends with: the last, or those of the look (the one before training included) that the gold judge
    liked most; without a gold judge the one with the highest normalised score less `kl.coefficient` times KL"""
    kl_budget: float | None = Field(default=None, gt=0)
    """nats a response from the reference; the first look beyond them ends the training, and is never kept as the best"""
    length_ratio: tuple[float, float] = (0.5, 2.0)
    """mean length of the responses over that before training: outside of this a warning is given"""
    repetition: float = Field(default=0.1, gt=0, le=1)
    """growth of the share of repeated three-token runs, over that before training, from which a warning is given"""

    @model_validator(mode="after")
    def _gold_knows_something(self) -> Self:
        if self.gold and self.truth is None:
            raise ValueError("gold needs truth: the artifact that holds what the gold judge knows")
        if self.gold_measure and not self.gold:
            raise ValueError("gold_measure has no effect without gold")
        if self.shares and self.every is not None:
            raise ValueError("give either every or shares, not both")
        return self

    def hook(self, monitor: Monitor, steps: int = 1, *, has_budget: bool) -> Hook:
        """When the loop looks; `steps`: optimizer steps of an iteration. RecipeError for shares of no budget."""
        from tuningfork.errors import RecipeError
        from tuningfork.train.loop import Hook

        if self.shares and not has_budget:
            raise RecipeError("monitor.shares: they are shares of a budget, and there is none; give every, or a budget")
        return Hook(None if self.shares else steps * (self.every or 10), monitor, self.shares)


class WatchSettings(MonitorSettings):
    """The monitor of a stage that neither samples nor scores by itself."""

    reward: RewardSettings | None = None
    """what is looked at beside the gold judge and decides nothing unless there is none; empty leaves it out"""
    sampling: SamplingSettings = SamplingSettings(max_new_tokens=40)
    """how the prompts are answered"""


@dataclass
class Monitor:
    """Looks at the policy. What it has to remember waits in the stage's work folder, so a resumed run finds it.

    A look is a function of the weights alone, so a run that was cut and repeats a look decides as before.
    """

    stage: StageContext
    settings: MonitorSettings
    collector: ScoringSampler
    modules: Mapping[str, nn.Module]
    mean: float
    deviation: float
    kl_price: float
    """normalised score that a nat of KL costs when looks are compared without a gold judge"""
    stopped_at: int | None = field(default=None, init=False)
    """the step at which the KL budget ended the training"""

    def __post_init__(self) -> None:
        self.gold = load_monitor_gold(self.stage, self.settings)
        self.measure = deciding_measure(self.gold, self.settings.gold_measure) if self.gold else None
        self.rows, self.prompts = monitor_prompts(self.stage, self.settings, self.collector)
        self.start = self._remembered_start()
        self.stage.events.log(step=0, **self.start)

    def __call__(self, step: int) -> dict[str, float]:
        """Metrics of the policy as it is after `step` optimizer steps; keeps the weights, and notices the budget."""
        found = self._look(step)
        warnings = self._watch(found, step)
        is_within = self.settings.kl_budget is None or found["monitor/kl"] <= self.settings.kl_budget
        if not is_within:
            self.stopped_at = step
            self.stage.events.say(
                f"stopped after step {step}: {found['monitor/kl']:.2f} nats a response are beyond the KL budget of "
                f"{self.settings.kl_budget:g}"
            )
        elif self.settings.keep == "best":
            self._keep_if_best(step, found)
        return found | warnings

    def is_over(self) -> bool:
        """Whether training has to end here."""
        return self.stopped_at is not None

    def finish(self, last_step: int) -> None:
        """Put the best weights back where they are wanted, and record what was kept and where training ended."""
        from tuningfork.train.checkpoint import load_checkpoint, restore_tensors

        if self.stopped_at is not None:
            last_step = self.stopped_at
            self.stage.figures["stopped_at_step"] = last_step
        if self.settings.keep == "last":
            return
        best = load_checkpoint(self._folder)
        assert best is not None, "the look before training is kept"
        if best.step != last_step:
            restore_tensors(self.modules, best.tensors)
        self.stage.figures.update(best_step=best.step, best_value=best.state["value"])
        self.stage.events.say(
            f"kept the weights after step {best.step} of {last_step}: {best.state['value']:.3f} by {self._criterion}"
        )

    @property
    def _folder(self) -> Path:
        return self.stage.work / "best"

    @property
    def _criterion(self) -> str:
        return f"gold {self.measure.name}" if self.measure else f"score less {self.kl_price:g} a nat of KL"

    def _remembered_start(self) -> dict[str, float]:
        """The look before training: what later ones are measured against, and the first that may be the best."""
        file = self.stage.work / "monitor_start.json"
        if not file.is_file():
            found = self._look(None)
            if self.measure and f"gold/{self.measure.name}" not in found:
                raise RecipeError(
                    f"monitor.gold_measure: {self.measure.name} applies to none of the monitor prompts; the judge "
                    f"found {', '.join(name.removeprefix('gold/') for name in found if name.startswith('gold/'))}"
                )
            if self.settings.keep == "best":
                self._keep_if_best(0, found)
            write_text(file, json.dumps(found))
        return json.loads(file.read_text(encoding="utf-8"))

    def _look(self, step: int | None) -> dict[str, float]:
        from tuningfork.evals.answers import to_answers
        from tuningfork.evals.logprobs import response_logprobs
        from tuningfork.evals.text import distinct, repetition, words

        backbone = self.collector.backbone
        rollouts = self.collector.sample(self.prompts, "monitor", 1)
        scored = self.collector.score(rollouts, self.rows)
        temperature = self.collector.sampling.temperature
        own, reference = (
            response_logprobs(backbone, rollouts, role=role, temperature=temperature)
            for role in ("policy", "reference")
        )
        known = [score for score in scored.scores if score is not None]
        if not known and self.collector.reward is not None:
            raise RunError(
                f"none of the {len(rollouts)} responses to monitor prompts could be scored: see to the reward"
            )
        answers = to_answers(backbone, rollouts)
        if step is not None:
            for row, answer, score in list(zip(self.rows, answers, scored.scores, strict=True))[:4]:
                self.stage.sample(step=step, prompt=row["prompt"], response=answer.text, score=score)
        count = len(rollouts)
        scores = {"monitor/score_mean": sum(known) / len(known)} if known else {}
        return {
            **self._judged(answers),
            **scores,
            "monitor/kl": sum(float((a - b).sum()) for a, b in zip(own, reference, strict=True)) / count,
            "monitor/eos": sum(rollout.finish_reason == "stop" for rollout in rollouts) / count,
            "monitor/response_length": sum(len(rollout.response_ids) for rollout in rollouts) / count,
            "monitor/distinct_2": distinct([words(answer.text) for answer in answers], 2),
            "monitor/repetition_3": sum(repetition(rollout.response_ids) for rollout in rollouts) / count,
        }

    def _judged(self, answers: Sequence[Answer]) -> dict[str, float]:
        """Means of what the gold judge measures, over the prompts where it applies."""
        judged = self.gold.judge(self.rows, answers) if self.gold else []
        names = sorted({name for values in judged for name in values})
        found = {name: [values[name] for values in judged if name in values] for name in names}
        return {f"gold/{name}": sum(values) / len(values) for name, values in found.items()}

    def _watch(self, found: Mapping[str, float], step: int) -> dict[str, float]:
        """1.0 or 0.0 for each warning; a warning is also said."""
        low, high = self.settings.length_ratio
        ratio = found["monitor/response_length"] / self.start["monitor/response_length"]
        growth = found["monitor/repetition_3"] - self.start["monitor/repetition_3"]
        is_odd_length, is_repeating = not low <= ratio <= high, growth > self.settings.repetition
        if is_odd_length:
            self.stage.events.say(
                f"warning: after step {step} responses are {ratio:.2f} times as long as before training (watched: {low:g} "
                f"to {high:g}); look at the samples, and at whether the reward likes length"
            )
        if is_repeating:
            self.stage.events.say(
                f"warning: after step {step} {found['monitor/repetition_3']:.0%} of three-token runs repeat, "
                f"{growth:.0%} more than before training; look at the samples"
            )
        return {"monitor/length_warning": float(is_odd_length), "monitor/repetition_warning": float(is_repeating)}

    def _keep_if_best(self, step: int, found: Mapping[str, float]) -> None:
        from tuningfork.train.checkpoint import load_checkpoint, save_checkpoint, trainable_tensors

        value = self._value(found)
        best = load_checkpoint(self._folder)
        if best is None or value > best.state["value"]:
            save_checkpoint(self._folder, step, trainable_tensors(self.modules), {"value": value})

    def _value(self, found: Mapping[str, float]) -> float:
        if self.measure:
            return found[f"gold/{self.measure.name}"] * (-1.0 if self.measure.direction == "lower" else 1.0)
        score = (found.get("monitor/score_mean", 0.0) - self.mean) / self.deviation
        return score - self.kl_price * found["monitor/kl"]


def watch(stage: StageContext, settings: WatchSettings, backbone: Backbone) -> Monitor:
    """The monitor of a stage that trains `backbone` without sampling; the model as it is now is the reference."""
    from tuningfork.reward import load_reward
    from tuningfork.streams.scoring import ScoringSampler

    backbone.keep_reference()
    field = "monitor.reward"
    reward = settings.reward and load_reward(
        settings.reward, stage.inputs, stage.runtime, backbone=backbone, field=field
    )
    sampler = ScoringSampler(stage, backbone, reward, settings.sampling)
    return Monitor(stage, settings, sampler, {"policy": backbone.model}, 0.0, 1.0, 0.0)


def load_monitor_gold(stage: StageContext, settings: MonitorSettings) -> GoldJudge | None:
    """The gold judge of the monitor prompts; None where none is asked for."""
    from tuningfork.evals.gold import load_gold

    if settings.gold is None:
        return None
    return load_gold(settings.gold, Path(stage.inputs["monitor.truth"].reference))


def deciding_measure(gold: GoldJudge, name: str | None) -> GoldMeasure:
    """The measure of this name, or the judge's first headline measure; RecipeError where there is none that has a good side."""
    known = [kind for kind in gold.measures if kind.direction != "same"]
    for kind in known:
        if kind.name == name or (name is None and kind.role == "headline"):
            return kind
    raise RecipeError(
        f"monitor.gold_measure: the gold judge has no measure {name!r} with a good direction; it has "
        f"{', '.join(kind.name for kind in known) or 'none'}"
    )


def monitor_prompts(
    stage: StageContext, settings: MonitorSettings, collector: ScoringSampler
) -> tuple[list[dict[str, Any]], list[Prompt]]:
    """The monitor prompts as rows and as ids."""
    from tuningfork.data.jsonl import read_jsonl
    from tuningfork.evals.answers import make_prompts

    rows = read_jsonl(stage.inputs["monitor.prompts"].reference, required=("id", "prompt"))[: settings.limit]
    return rows, make_prompts(collector.backbone, rows)
