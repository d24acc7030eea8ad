"""Best of n by a reward: how much it earns for every n, by the reward and by the gold judge, without training anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from tuningfork.reward.settings import RewardSettings
from tuningfork.rollout.settings import SamplingSettings
from tuningfork.settings import Input, Settings
from tuningfork.stage import StageContext

if TYPE_CHECKING:
    from tuningfork.evals.gold import Answer
    from tuningfork.streams.collection import ScoredRollouts


class GoldSettings(Settings):
    """The gold judge, which sees what the reward chose."""

    name: str
    """a world (`colours`) or a module of evals (`sentiment`)"""
    truth: Input
    """artifact that holds what the judge knows"""


class StageSettings(Settings):
    """Settings of the stage `best_of`."""

    policy: Input = "sft/model"
    """model whose responses are chosen from"""
    reward: RewardSettings
    """what chooses"""
    prompts: Input
    """prompts: `{"id", "prompt", "root"}` rows"""
    limit: int | None = Field(default=None, ge=1)
    """how many of the prompts are used; empty uses all"""
    samples: int = Field(default=16, ge=2)
    """responses to each prompt, and the largest n; every smaller n is computed from the same ones"""
    sampling: SamplingSettings = SamplingSettings(max_new_tokens=40)
    """how responses are drawn"""
    chunk: int | None = Field(default=512, ge=1)
    """responses sampled and scored at a time, which bounds memory; the result does not depend on it"""
    gold: GoldSettings | None = None
    """who judges the chosen responses; never used to choose"""


@dataclass(frozen=True)
class Group:
    """The scorable responses to one prompt, all N of them."""

    row: Mapping[str, Any]
    answers: Sequence[Answer]
    lengths: Sequence[int]
    scores: Sequence[float]
    gold: Mapping[str, Sequence[float]]
    """what the gold judge measured, by name: one value a response"""


def run(stage: StageContext, settings: StageSettings) -> None:
    """Sample, score, judge; the curve over n goes to metrics.jsonl (step = n), the chosen responses to samples.jsonl."""
    from tuningfork.data.jsonl import read_jsonl
    from tuningfork.evals.answers import make_prompts
    from tuningfork.methods.best_of import expected_best
    from tuningfork.model.loading import load_backbone
    from tuningfork.reward import load_reward
    from tuningfork.streams.scoring import ScoringSampler

    rows = read_jsonl(stage.inputs["prompts"].reference, required=("id", "prompt"))[: settings.limit]
    backbone = load_backbone(stage.inputs["policy"].reference, stage.runtime)
    reward = load_reward(settings.reward, stage.inputs, stage.runtime, backbone=backbone)
    collector = ScoringSampler(
        stage, backbone, reward, settings.sampling, samples_per_prompt=settings.samples, chunk=settings.chunk
    )
    groups = _groups(stage, settings, rows, collector.collect(make_prompts(backbone, rows), rows, "best of"), collector)
    for n in range(1, settings.samples + 1):
        stage.events.log(step=n, **_curve(groups, n))
    for group in groups:
        best = max(range(settings.samples), key=group.scores.__getitem__)
        stage.sample(
            prompt=group.row["prompt"],
            response=group.answers[best].text,
            score=group.scores[best],
            first=group.answers[0].text,
            first_score=group.scores[0],
            mean_score=expected_best(group.scores, 1),
            gold={name: values[best] for name, values in group.gold.items()},
        )
    _summarise(stage, settings, groups)


def _groups(
    stage: StageContext, settings: StageSettings, rows: Sequence[Any], scored: ScoredRollouts, collector: Any
) -> list[Group]:
    """The prompts all of whose responses have a score; how many have not is said and recorded."""
    from tuningfork.errors import DataError
    from tuningfork.evals.answers import to_answers
    from tuningfork.evals.gold import load_gold

    gold = load_gold(settings.gold.name, Path(stage.inputs["gold.truth"].reference)) if settings.gold else None
    answers = to_answers(collector.backbone, scored.rollouts)
    groups = []
    for index, row in enumerate(rows):
        places = range(index * settings.samples, (index + 1) * settings.samples)
        scores = [score for place in places if (score := scored.scores[place]) is not None]
        if len(scores) < settings.samples:
            continue
        own = [answers[place] for place in places]
        judged = gold.judge([row] * len(own), own) if gold else [{} for _ in own]
        names = set[str]().union(*judged)
        found = {name: [values[name] for values in judged] for name in sorted(names)}
        groups.append(Group(row, own, [len(scored.rollouts[place].response_ids) for place in places], scores, found))
    left_out = len(rows) - len(groups)
    stage.figures.update(prompts=len(groups), prompts_left_out=left_out)
    if left_out:
        stage.events.say(f"left out {left_out} of {len(rows)} prompts: some of their responses could not be scored")
    if not groups:
        raise DataError(f"{stage.inputs['prompts'].reference}: no prompt has {settings.samples} responses with a score")
    return groups


def _curve(groups: Sequence[Group], n: int) -> dict[str, float]:
    """Expectations over prompts for the best of n: score, gold, length, share that ended."""
    from tuningfork.methods.best_of import expected_best, kl_bound

    ended = [[float(answer.has_ended) for answer in group.answers] for group in groups]
    found = {
        "kl_bound": kl_bound(n),
        "score_mean": _mean([expected_best(group.scores, n) for group in groups]),
        "response_length": _mean([expected_best(group.scores, n, group.lengths) for group in groups]),
        "eos": _mean([expected_best(group.scores, n, own) for group, own in zip(groups, ended, strict=True)]),
    }
    for name in sorted({name for group in groups for name in group.gold}):
        values = [expected_best(group.scores, n, group.gold[name]) for group in groups if name in group.gold]
        found[f"gold/{name}"] = _mean(values)
    return found


def _summarise(stage: StageContext, settings: StageSettings, groups: Sequence[Group]) -> None:
    """Figures of one response against the best of all, with intervals over roots, and how varied the chosen ones are."""
    from tuningfork.evals.statistics import paired_comparison
    from tuningfork.evals.text import distinct, words
    from tuningfork.methods.best_of import expected_best, kl_bound

    def compared(values: Sequence[tuple[Group, Sequence[float]]]) -> dict[str, Any]:
        ends = [[expected_best(g.scores, n, own) for g, own in values] for n in (1, settings.samples)]
        roots = [g.row.get("root", g.row["id"]) for g, _ in values]
        found = paired_comparison(ends[0], ends[1], roots, stage.seed)
        ci95 = None if found.ci95 is None else list(found.ci95)
        return {"one": found.before, "best": found.after, "difference": found.difference, "ci95": ci95}

    score = compared([(group, group.scores) for group in groups])
    stage.figures.update(n=settings.samples, kl_bound=kl_bound(settings.samples), score=score)
    for name in sorted({name for group in groups for name in group.gold}):
        found = compared([(group, group.gold[name]) for group in groups if name in group.gold])
        stage.figures[f"gold_{name}"] = found
        stage.events.say(f"best of {settings.samples}: gold {name} {found['one']:.3f} to {found['best']:.3f}")
    chosen = [max(range(settings.samples), key=group.scores.__getitem__) for group in groups]
    stage.figures["distinct_2_one"] = distinct([words(group.answers[0].text) for group in groups], 2)
    stage.figures["distinct_2_best"] = distinct(
        [words(group.answers[place].text) for group, place in zip(groups, chosen, strict=True)], 2
    )
    stage.events.say(
        f"best of {settings.samples}: score {score['one']:.3f} to {score['best']:.3f}, "
        f"at most {kl_bound(settings.samples):.2f} nats from the model"
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
