"""Sample from a model, score, and keep the responses that are worth learning: demonstrations for the stage `sft`.

One stage is one round. A recipe has a `rejection` and an `sft` for each round, so that every round is resumed, checked
and read like any other stage; `pool` hands on the candidates of earlier rounds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pydantic import Field

from tuningfork.methods import selection
from tuningfork.reward.settings import RewardSettings
from tuningfork.rollout.settings import SamplingSettings
from tuningfork.settings import Input, Settings
from tuningfork.stage import StageContext

if TYPE_CHECKING:
    from tuningfork.model.backbone import Backbone

SelectionSettings = selection.settings_choice()


class StageSettings(Settings):
    """Settings of the stage `rejection`."""

    policy: Input = "sft/model"
    """model whose responses are selected"""
    reward: RewardSettings
    """what they are selected by; `evaluate` should have another judge"""
    prompts: Input
    """prompts: `{"id", "prompt", "root"}` rows"""
    limit: int | None = Field(default=None, ge=1)
    """how many of the prompts are used; empty uses all"""
    samples_per_prompt: int = Field(default=8, ge=0)
    """responses to each prompt; 0 only selects from the pool (an improve step of ReST)"""
    sampling: SamplingSettings = SamplingSettings(max_new_tokens=40)
    """how responses are drawn"""
    keep_cut: bool = False
    """whether responses that were cut at the most new tokens take part too; let `sft` learn those with `learn_end: false`"""
    chunk: int | None = Field(default=512, ge=1)
    """responses sampled and scored at a time, which bounds memory; the result does not depend on it"""
    pool: Input | None = None
    """`candidates.jsonl` of an earlier round: selected from together with the new ones, which keeps what was good before"""
    select: SelectionSettings = Field(default={"name": "raft"}, validate_default=True)  # pyright: ignore[reportInvalidTypeForm]
    """the rule and its settings, e.g. `{name: rest, threshold: 0.8}`"""
    minimum: int = Field(default=1, ge=1)
    """demonstrations below which the run stops"""


@dataclass(frozen=True)
class Candidate:
    """A response with its score; one row of candidates.jsonl."""

    id: str
    root: str
    prompt: Any
    completion: str
    score: float
    round: int
    reward: str
    """hash of the reward: scores of different rewards do not compare"""


def run(stage: StageContext, settings: StageSettings) -> None:
    """Write candidates.jsonl (the whole pool) and demonstrations.jsonl (what was selected)."""
    from tuningfork.data.jsonl import read_jsonl, write_jsonl
    from tuningfork.errors import RecipeError
    from tuningfork.train.budget import compute_clock

    if not settings.samples_per_prompt and not settings.pool:
        raise RecipeError("rejection.samples_per_prompt: 0 leaves nothing to select from; give samples or a pool")
    reward_hash = _reward_hash(stage, settings)
    pool = [Candidate(**row) for row in read_jsonl(stage.inputs["pool"].reference)] if settings.pool else []
    for candidate in pool:
        if candidate.reward != reward_hash:
            raise RecipeError(
                f"rejection.pool: {settings.pool} was scored by another reward, and scores of two rewards do not "
                "compare; leave the pool out, or give the same reward"
            )
    number = 1 + max((candidate.round for candidate in pool), default=0)
    if settings.samples_per_prompt:
        clock = compute_clock(stage.runtime.device)
        started = clock()
        pool += _candidates(stage, settings, number, reward_hash)
        stage.figures["spent_seconds"] = clock() - started
    groups = _groups(stage, pool)
    kept = _select(stage, settings, groups)
    write_jsonl(stage.out / "candidates.jsonl", (asdict(candidate) for group in groups for candidate in group))
    write_jsonl(
        stage.out / "demonstrations.jsonl",
        (
            {"prompt": c.prompt, "completion": c.completion, "id": c.id, "root": c.root, "score": c.score}
            for group in kept
            for c in group
        ),
    )
    _summarise(stage, settings, groups, kept)


def _candidates(stage: StageContext, settings: StageSettings, number: int, reward_hash: str) -> list[Candidate]:
    """New responses with a score that ended by themselves, or may be cut; how many are left out is said and recorded."""
    from tuningfork.data.jsonl import read_jsonl
    from tuningfork.evals.answers import make_prompts, to_answers
    from tuningfork.model.loading import load_backbone
    from tuningfork.reward import load_reward
    from tuningfork.streams.scoring import ScoringSampler

    rows = read_jsonl(stage.inputs["prompts"].reference, required=("id", "prompt"))[: settings.limit]
    backbone: Backbone = load_backbone(stage.inputs["policy"].reference, stage.runtime)
    reward = load_reward(settings.reward, stage.inputs, stage.runtime, backbone=backbone)
    collector = ScoringSampler(
        stage, backbone, reward, settings.sampling, samples_per_prompt=settings.samples_per_prompt, chunk=settings.chunk
    )
    scored = collector.collect(make_prompts(backbone, rows), rows, f"rejection {number}")
    answers = to_answers(backbone, scored.rollouts)
    found, cut, unscorable = [], 0, 0
    for index, (answer, score) in enumerate(zip(answers, scored.scores, strict=True)):
        row = rows[index // settings.samples_per_prompt]
        if not answer.has_ended and not settings.keep_cut:
            cut += 1  # learning it would teach to stop in the middle
        elif score is None:
            unscorable += 1
        else:
            root = str(row.get("root", row["id"]))
            found.append(Candidate(str(row["id"]), root, row["prompt"], answer.text, score, number, reward_hash))
    stage.figures.update(sampled=len(answers), dropped_cut=cut, dropped_unscorable=unscorable)
    if cut or unscorable:
        stage.events.say(
            f"left out of {len(answers):,} responses: {cut:,} without an end, {unscorable:,} without a score"
        )
    return found


def _groups(stage: StageContext, pool: Sequence[Candidate]) -> list[list[Candidate]]:
    """Candidates by prompt, of equal texts only the first, empty ones left out; both are counted."""
    groups: dict[str, dict[str, Candidate]] = {}
    empty = 0
    for candidate in pool:
        if candidate.completion.strip():
            groups.setdefault(candidate.id, {}).setdefault(candidate.completion, candidate)
        else:
            empty += 1
    found = [list(group.values()) for group in groups.values()]
    stage.figures.update(dropped_empty=empty, dropped_repeated=len(pool) - empty - sum(map(len, found)))
    return found


def _select(
    stage: StageContext, settings: StageSettings, groups: Sequence[Sequence[Candidate]]
) -> list[list[Candidate]]:
    """The candidates that the rule keeps, by prompt; draws depend on (seed, prompt) alone."""
    from tuningfork.randomness import numpy_generator

    draws = [numpy_generator(stage.seed, "selection", group[0].id) for group in groups]
    # Rules that accept in order, until they have enough, would favour the rounds that come first.
    groups = [
        [group[place] for place in draw.permutation(len(group))] for group, draw in zip(groups, draws, strict=True)
    ]
    uniforms = [draw.random for draw in draws]
    scores = [[candidate.score for candidate in group] for group in groups]
    places = selection.load(settings.select.name).select(scores, uniforms, settings.select)
    return [[group[place] for place in chosen] for group, chosen in zip(groups, places, strict=True)]


def _summarise(
    stage: StageContext,
    settings: StageSettings,
    groups: Sequence[Sequence[Candidate]],
    kept: Sequence[Sequence[Candidate]],
) -> None:
    """Figures of what was there and what was kept, a few of those, and the gate."""
    from tuningfork.evals.text import distinct, words

    pool = [candidate for group in groups for candidate in group]
    chosen = [candidate for group in kept for candidate in group]
    newest = max((candidate.round for candidate in pool), default=0)
    stage.figures.update(
        candidates=len(pool),
        kept=len(chosen),
        kept_share=len(chosen) / max(1, len(pool)),
        prompts=len(groups),
        prompts_kept=sum(bool(group) for group in kept),
        kept_of_earlier_rounds=sum(candidate.round < newest for candidate in chosen),
        score_pool=_mean([c.score for c in pool]),
        score_kept=_mean([c.score for c in chosen]),
        words_pool=_mean([float(len(words(c.completion))) for c in pool]),
        words_kept=_mean([float(len(words(c.completion))) for c in chosen]),
        distinct_2_kept=distinct([words(c.completion) for c in chosen], 2),
    )
    for candidate in chosen[:: max(1, len(chosen) // 8)][:8]:
        stage.sample(prompt=candidate.prompt, response=candidate.completion, score=candidate.score)
    stage.gate(
        "demonstrations",
        len(chosen) >= settings.minimum,
        f"kept {len(chosen):,} of {len(pool):,} candidates, for {stage.figures['prompts_kept']:,} of {len(groups):,} "
        f"prompts (at least {settings.minimum}); prompts whose candidates all have one score teach nothing",
        kept=len(chosen),
    )


def _reward_hash(stage: StageContext, settings: StageSettings) -> str:
    """Equal for equal settings of the reward over equal inputs."""
    inputs = {name: found.key for name, found in stage.inputs.items() if name.startswith("reward.")}
    content = json.dumps([settings.reward.model_dump(mode="json"), inputs], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
