"""Collect preferences: sample several answers to each prompt, show a rater two of them, keep what the rater says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from tuningfork.data.judgements import Candidate, Judgement, Rater
from tuningfork.reward.settings import RewardSettings
from tuningfork.rollout.settings import SamplingSettings
from tuningfork.settings import Input, Settings
from tuningfork.stage import StageContext

if TYPE_CHECKING:
    from tuningfork.evals.gold import Answer
    from tuningfork.model.backbone import Backbone
    from tuningfork.reward.base import Item
    from tuningfork.reward.rater import RewardRater
    from tuningfork.rollout.rollout import Rollout
    from tuningfork.worlds import SimulatedRater


class DrawSettings(Settings):
    """Some of the samples of each prompt, drawn alike."""

    samples: int = Field(default=4, ge=1)
    """samples per prompt"""
    sampling: SamplingSettings
    """how they are drawn"""


class RaterSettings(Settings):
    """A simulated rater of an embedded world, who sees the prompt and two texts."""

    world: str = "colours"
    """the world whose raters these are"""
    truth: Input = "world"
    """artifact that holds what a person of that world knows"""
    flip_rate: float = Field(default=0.12, ge=0, lt=0.5)
    """how often the rater chooses the worse answer"""


class RewardRaterSettings(Settings):
    """A rater made of a reward, where nobody else can compare; what is learnt then knows no more than the reward."""

    reward: RewardSettings
    """what compares; it should not be the judge that decides in the end"""
    temperature: float = Field(default=1.0, gt=0)
    """units of the score in which the first answer is preferred with probability sigmoid(difference)"""


class StageSettings(Settings):
    """Settings of the stage `pairs`."""

    model: Input = "sft/model"
    """model whose answers are compared"""
    prompts: Input
    """prompts: `{"id", "prompt", "root"}` rows"""
    draws: tuple[DrawSettings, ...] = Field(min_length=1)
    """how the samples of a prompt are drawn; several kinds give more contrasts"""
    prompts_per_pass: int | None = Field(default=None, ge=1)
    """use only the first this many prompts (shuffled by seed); empty uses all"""
    pairs_per_prompt: int = Field(default=2, ge=1)
    """pairs shown for each prompt: its least likely samples, each against another one; equal samples count once"""
    pairs: int = Field(default=4000, ge=1)
    """judgements to keep; ties do not count unless they are kept"""
    keep_ties: bool = False
    """whether ties are kept: an answer like the others to whoever counts labels, nothing to learn from for a reward"""
    keep_cut: bool = False
    """whether preferred answers that were cut at the most new tokens are demonstrations too; let `sft` learn those with
    `learn_end: false`"""
    rater: RaterSettings | RewardRaterSettings = RaterSettings()
    """who compares: a simulated rater of a world, or `{reward: ...}`"""
    passes: int = Field(default=1, ge=1)
    """how often all prompts are gone through, with new samples each time, until there are enough pairs"""


def run(stage: StageContext, settings: StageSettings) -> None:
    """Sample, compare, write judgements.jsonl and chosen.jsonl (preferred answers as demonstrations)."""
    from tuningfork.data.jsonl import read_jsonl, write_jsonl
    from tuningfork.data.judgements import write_judgements
    from tuningfork.model.loading import load_backbone
    from tuningfork.randomness import numpy_generator

    rows = read_jsonl(stage.inputs["prompts"].reference, required=("id", "prompt", "root"))
    rows = [rows[index] for index in numpy_generator(stage.seed, "prompts").permutation(len(rows))]
    backbone = load_backbone(stage.inputs["model"].reference, stage.runtime)
    rater = _load_rater(stage, settings, backbone)
    kept: list[Judgement] = []
    counts: Counter[str] = Counter()
    for number in range(settings.passes):
        chosen = rows[: settings.prompts_per_pass]
        for judgement in _compare(stage, settings, backbone, rater, chosen, number):
            counts["shown"] += 1
            counts["ties"] += not judgement.pairs()
            if (settings.keep_ties or judgement.pairs()) and len(kept) < settings.pairs:
                kept.append(judgement)
        if len(kept) >= settings.pairs:
            break
    write_judgements(stage.out / "judgements.jsonl", kept)
    write_jsonl(stage.out / "chosen.jsonl", _chosen(kept, keep_cut=settings.keep_cut))
    stage.figures.update(pairs=len(kept), shown=counts["shown"], tie_share=counts["ties"] / counts["shown"])
    stage.figures.update(_make_up(rater, kept))
    stage.gate(
        "pairs",
        len(kept) >= 0.8 * settings.pairs,
        f"{len(kept):,} of {settings.pairs:,} pairs wanted; give more passes or prompts",
    )


def _load_rater(stage: StageContext, settings: StageSettings, backbone: Backbone) -> SimulatedRater | RewardRater:
    from tuningfork.reward import load_reward
    from tuningfork.reward.rater import RewardRater
    from tuningfork.worlds import load_rater

    if isinstance(settings.rater, RaterSettings):
        truth = Path(stage.inputs["rater.truth"].reference)
        return load_rater(settings.rater.world, truth, stage.seed, settings.rater.flip_rate)
    reward = load_reward(
        settings.rater.reward, stage.inputs, stage.runtime, tokenizer=backbone.tokenizer, field="rater.reward"
    )
    return RewardRater(reward, stage.seed, settings.rater.temperature)


def _chosen(judgements: Sequence[Judgement], *, keep_cut: bool) -> list[dict[str, Any]]:
    """Preferred answers that ended by themselves, or were cut where those are wanted, each text of a prompt once."""
    best = [(j, j.candidates[better]) for j in judgements for better, _ in j.pairs()]
    found = {(j.item, c.text): (j, c) for j, c in best if (c.has_ended or keep_cut) and c.text.strip()}
    return [
        {"prompt": j.prompt, "completion": c.text, "id": j.item, "root": j.root, "judgement": j.id}
        for j, c in found.values()
    ]


def _compare(
    stage: StageContext,
    settings: StageSettings,
    backbone: Backbone,
    rater: SimulatedRater | RewardRater,
    rows: Sequence[dict[str, Any]],
    number: int,
) -> list[Judgement]:
    """Judgements of one pass over the prompts, ties included."""
    from tuningfork.evals.answers import answer_prompts
    from tuningfork.evals.logprobs import response_logprobs
    from tuningfork.randomness import numpy_generator
    from tuningfork.reward.rater import RewardRater

    samples: list[list[tuple[Rollout, Answer, int]]] = [[] for _ in rows]
    for kind, draw in enumerate(settings.draws):
        purpose = f"pass {number} draw {kind}"
        drawn = answer_prompts(
            backbone, rows, draw.sampling, seed=stage.seed, purpose=purpose, num_samples=draw.samples
        )
        for index, (rollout, answer) in enumerate(zip(drawn.rollouts, drawn.answers, strict=True)):
            samples[index // draw.samples].append((rollout, answer, kind))
        stage.events.say(f"sampled {len(drawn.answers):,} answers at temperature {draw.sampling.temperature:g}")
    distinct = [list({tuple(sample[0].response_ids): sample for sample in group}.values()) for group in samples]
    if isinstance(rater, RewardRater):
        rater.read([_item(row, *sample[:2]) for row, group in zip(rows, distinct, strict=True) for sample in group])
    totals = iter(response_logprobs(backbone, [rollout for group in distinct for rollout, _, _ in group]))
    likelihood = [[float(next(totals).sum()) for _ in group] for group in distinct]
    draws = numpy_generator(stage.seed, "partner", number)
    judgements = []
    for row, group, scores in zip(rows, distinct, likelihood, strict=True):
        for place in sorted(range(len(group)), key=scores.__getitem__)[: settings.pairs_per_prompt]:
            others = [i for i, (_, answer, _) in enumerate(group) if answer.text != group[place][1].text]
            if not others:
                continue
            pair = [group[place], group[others[int(draws.integers(len(others)))]]]
            if draws.random() < 0.5:
                pair.reverse()
            judgements.append(_judge(stage, settings, rater, row, pair, f"{row['id']}/{number}/{place}"))
    return judgements


def _judge(
    stage: StageContext,
    settings: StageSettings,
    rater: SimulatedRater | RewardRater,
    row: dict[str, Any],
    pair: Sequence[tuple[Rollout, Answer, int]],
    name: str,
) -> Judgement:
    from tuningfork.reward.rater import RewardRater

    (_, first, _), (_, second, _) = pair
    if isinstance(rater, RewardRater):
        choice = rater.compare(name, *(_item(row, rollout, answer) for rollout, answer, _ in pair))
    else:
        choice = rater.compare(
            name, row["root"], first.text, second.text, a_ended=first.has_ended, b_ended=second.has_ended
        )
    return Judgement(
        id=name,
        item=str(row["id"]),
        root=str(row["root"]),
        prompt=row["prompt"],
        prompt_ids=list(pair[0][0].prompt_ids),
        candidates=[
            Candidate(
                text=answer.text,
                ids=rollout.response_ids,
                has_ended=answer.has_ended,
                artifact=stage.inputs["model"].key,
                sampling={"draw": kind, "temperature": settings.draws[kind].sampling.temperature},
            )
            for rollout, answer, kind in pair
        ],
        shown=[0, 1],
        ranking={"a": [[0], [1]], "b": [[1], [0]], "tie": [[0, 1]]}[choice],
        rater=Rater(id="reward", kind="model")
        if isinstance(rater, RewardRater)
        else Rater(id="simulated", kind="simulated"),
    )


def _item(row: dict[str, Any], rollout: Rollout, answer: Answer) -> Item:
    """An answer as a reward reads it."""
    from tuningfork.reward.base import Item

    return Item(row["prompt"], answer.text, row, rollout.prompt_ids, rollout.response_ids)


def _make_up(rater: SimulatedRater | RewardRater, judgements: Sequence[Judgement]) -> dict[str, float]:
    """What the losers are, and how often the rater was wrong: the make-up of the pairs decides what a reward learns."""
    from tuningfork.reward.rater import RewardRater

    counts: Counter[str] = Counter()
    if isinstance(rater, RewardRater):
        return {}
    decided = [judgement for judgement in judgements if judgement.pairs()]
    for judgement in decided:
        (winner, loser), *_ = judgement.pairs()
        good, bad = judgement.candidates[winner], judgement.candidates[loser]
        slipped = rater.is_worse(judgement.root, good.text, bad.text, a_ended=good.has_ended, b_ended=bad.has_ended)
        counts["rater_errors"] += slipped
        counts[f"loser_{rater.describe(judgement.root, bad.text, bad.has_ended)}"] += 1
    return {name: count / max(1, len(decided)) for name, count in sorted(counts.items())}
