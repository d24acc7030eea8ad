"""Compare a model before and after: same prompts, same random numbers, same decoding; gold judge apart from the reward."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from tuningfork.evals.summary import Direction, Limit
from tuningfork.reward.settings import RewardSettings
from tuningfork.rollout.settings import SamplingSettings
from tuningfork.settings import Input, ReadOnceInput, Settings
from tuningfork.stage import StageContext

if TYPE_CHECKING:
    from tuningfork.evals.answers import Answers
    from tuningfork.evals.gold import Judged
    from tuningfork.evals.summary import GateRecord, LedgerEntry, Measure
    from tuningfork.model.backbone import Backbone


class GoldSettings(Settings):
    """The gold judge, which is never part of a reward or of a training set."""

    name: str
    """a world (`colours`) or a module of evals (`sentiment`)"""
    truth: Input
    """artifact that holds what the judge knows"""


class LedgerSettings(Settings):
    """Stages whose figures make the forgetting ledger."""

    pretrain: Input | None = None
    """artifact of the pretraining stage"""
    sft: Input | None = None
    """artifact of the fine-tuning stage"""
    reward: Input | None = None
    """artifact of the reward stage"""


class StageSettings(Settings):
    """Settings of the stage `evaluate`."""

    before: Input = "sft/model"
    """model to compare with"""
    after: Input = "rl/model"
    """model that is judged"""
    prompts: ReadOnceInput
    """test prompts: `{"id", "prompt", "root"}` rows; read here and nowhere else, and with one choice of settings"""
    shown: Input | None = None
    """further prompts whose answers are shown in the report, without any statistics"""
    shown_samples: int = Field(default=16, ge=1)
    """answers to each of the shown prompts"""
    gold: GoldSettings | None = None
    """who judges the answers; without one only the reward and the texts are compared"""
    reward: RewardSettings | None = None
    """what was optimised, reported as the proxy"""
    text: Input | None = None
    """unrelated text for perplexity; `{"text"}` rows"""
    text_length: int = Field(default=64, ge=2)
    """tokens per row of that text"""
    perplexity_ratio: float = Field(default=1.1, gt=0)
    """largest ratio of perplexities after / before"""
    length_ratio: tuple[float, float] | None = None
    """least and largest ratio of mean answer lengths; empty only reports it"""
    distinct_ratio: float | None = Field(default=None, gt=0)
    """least ratio of distinct-2; empty only reports it"""
    eos_minimum: float | None = Field(default=None, gt=0, le=1)
    """least share of answers that end by themselves; empty only reports it"""
    kl_limit: float | None = Field(default=None, gt=0)
    """largest KL per response in nats, as a gate; empty only reports it"""
    limits: dict[str, Limit] = Field(default_factory=dict)
    """limits on what the gold judge measures, by name: they make a guard of it, or replace its own limit"""
    sampling: SamplingSettings = SamplingSettings(max_new_tokens=40)
    """how answers are drawn, before and after alike"""
    samples: int = Field(default=1, ge=1)
    """answers per prompt"""
    ledger: LedgerSettings = LedgerSettings()
    """earlier stages whose figures are repeated in the forgetting ledger"""


def run(stage: StageContext, settings: StageSettings) -> None:
    """Answer, judge, compare, write summary.json and samples.jsonl."""
    from tuningfork.data.jsonl import read_jsonl
    from tuningfork.evals.answers import answer_prompts
    from tuningfork.evals.gold import find_regressions, gold_measures, judge_both, load_gold
    from tuningfork.evals.kl import kl_per_sequence, least_kl_of
    from tuningfork.evals.perplexity import perplexity_measure
    from tuningfork.evals.proxy import proxy_measure, proxy_scores
    from tuningfork.evals.style import style_measures
    from tuningfork.evals.summary import Summary, write_summary
    from tuningfork.evals.verdict import judge
    from tuningfork.model.loading import load_backbone
    from tuningfork.reward import load_reward

    prompts = read_jsonl(stage.inputs["prompts"].reference, required=("id", "prompt", "root"))
    rows = [row for row in prompts for _ in range(settings.samples)]
    roots = [row["root"] for row in rows]
    gold = load_gold(settings.gold.name, Path(stage.inputs["gold.truth"].reference)) if settings.gold else None
    before, after = (load_backbone(stage.inputs[name].reference, stage.runtime) for name in ("before", "after"))
    first, second = (
        answer_prompts(model, prompts, settings.sampling, seed=stage.seed, purpose="test", num_samples=settings.samples)
        for model in (before, after)
    )
    judged = judge_both(gold, rows, first.answers, second.answers)
    measures = gold_measures(gold, settings.limits, rows, judged, stage.seed)
    scores: list[list[float | None]] = [[None] * len(rows)] * 2
    if settings.reward:
        reward = load_reward(settings.reward, stage.inputs, stage.runtime, tokenizer=before.tokenizer)
        scores = [proxy_scores(reward, rows, answers) for answers in (first, second)]
        measures += proxy_measure(scores[0], scores[1], roots, stage.seed)
    measures += style_measures(
        first,
        second,
        roots,
        stage.seed,
        length_ratio=settings.length_ratio,
        distinct_ratio=settings.distinct_ratio,
        eos_minimum=settings.eos_minimum,
    )
    if settings.text:
        texts = [row["text"] for row in read_jsonl(stage.inputs["text"].reference, required=("text",))]
        ratio = settings.perplexity_ratio
        measures.append(
            perplexity_measure(before, after, texts, settings.text_length, seed=stage.seed, largest_ratio=ratio)
        )
    nats = kl_per_sequence(after, before, second.rollouts, settings.sampling.temperature)
    kl = sum(nats) / len(nats)
    if settings.kl_limit is not None:
        stage.gate("kl", kl <= settings.kl_limit, f"{kl:.2f} nats a response (at most {settings.kl_limit:g})", kl=kl)
    regressions = find_regressions(gold, rows, judged, first.answers, second.answers)
    summary = judge(
        Summary(
            measures=measures,
            kl_per_sequence=kl,
            kl_least=least_kl_of(measures),
            seeds=[stage.seed],
            test_reads=stage.inputs["prompts"].num_choices,
            gates=_gate_records(stage),
            ledger=_ledger(stage, measures),
            regressions=regressions[:20],
            num_regressions=len(regressions),
        )
    )
    write_summary(summary, stage.out / "summary.json")
    _write_samples(stage, rows, judged, scores, first, second, nats)
    if settings.shown:
        _show(stage, settings, before, after)
    stage.figures.update({m.name: m.after for m in measures}, kl_per_sequence=kl, verdict=summary.verdict)
    stage.events.say(summary.verdict_text)


def _gate_records(stage: StageContext) -> list[GateRecord]:
    """Gates of this stage and of the earlier ones it reads."""
    from tuningfork.evals.summary import GateRecord

    records = []
    for resolved in stage.inputs.values():
        for gate in resolved.manifest.get("gates", ()):
            record = GateRecord(
                stage=resolved.manifest["id"], **{k: gate[k] for k in ("name", "passed", "message", "figures")}
            )
            if record not in records:
                records.append(record)
    return records + [
        GateRecord(stage=stage.id, name=g.name, passed=g.passed, message=g.message, figures=dict(g.figures))
        for g in stage.gates
    ]


_PROBES: dict[str, Direction] = {
    "perplexity": "lower",
    "bits_per_byte": "lower",
    "colour_accuracy": "higher",
    "accuracy": "higher",
    "forced_probability": "higher",
}


def _ledger(stage: StageContext, measures: Sequence[Measure]) -> list[LedgerEntry]:
    """What was known after each stage, as far as each stage measured it, and after this one."""
    from tuningfork.evals.summary import LedgerEntry

    entries = []
    for name, resolved in stage.inputs.items():
        if name.startswith("ledger."):
            figures = resolved.manifest.get("figures", {})
            stage_id = resolved.manifest.get("id", name.removeprefix("ledger."))
            entries += [
                LedgerEntry(stage=stage_id, probe=p, value=figures[p], direction=d)
                for p, d in _PROBES.items()
                if p in figures
            ]
    for m in measures:
        if m.name in _PROBES:
            entries.append(LedgerEntry(stage="after", probe=m.name, value=m.after, direction=_PROBES[m.name]))
    return entries


def _write_samples(
    stage: StageContext,
    rows: Sequence[Mapping[str, Any]],
    judged: Judged,
    scores: Sequence[Sequence[float | None]],
    first: Answers,
    second: Answers,
    nats: Sequence[float],
) -> None:
    """One row a prompt and sample, for the report's table."""
    for index, row in enumerate(rows):
        stage.sample(
            **{key: value for key, value in row.items() if key not in ("before", "after")},
            before=first.answers[index].text,
            after=second.answers[index].text,
            before_ended=first.answers[index].has_ended,
            after_ended=second.answers[index].has_ended,
            before_reward=scores[0][index],
            after_reward=scores[1][index],
            before_gold=judged.before[index],
            after_gold=judged.after[index],
            kl=nats[index],
        )


def _show(stage: StageContext, settings: StageSettings, before: Backbone, after: Backbone) -> None:
    """Several answers to a few prompts, side by side, in shown.jsonl; no statistics are made of them."""
    import json

    from tuningfork.data.jsonl import read_jsonl
    from tuningfork.evals.answers import answer_prompts

    rows = read_jsonl(stage.inputs["shown"].reference, required=("id", "prompt"))
    sides = [
        answer_prompts(
            backbone, rows, settings.sampling, seed=stage.seed, purpose="shown", num_samples=settings.shown_samples
        ).answers
        for backbone in (before, after)
    ]
    with (stage.out / "shown.jsonl").open("w", encoding="utf-8") as file:
        for index, (old, new) in enumerate(zip(*sides, strict=True)):
            row = rows[index // settings.shown_samples]
            file.write(
                json.dumps({"prompt": row["prompt"], "before": old.text, "after": new.text}, ensure_ascii=False) + "\n"
            )
