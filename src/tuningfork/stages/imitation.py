"""Check an imitation honestly: style and facts apart, inside and outside the tasks that were imitated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuningfork.rollout.settings import SamplingSettings
from tuningfork.settings import Input, Settings
from tuningfork.stage import StageContext

if TYPE_CHECKING:
    from tuningfork.evals.answers import Answers
    from tuningfork.evals.gold import GoldJudge
    from tuningfork.evals.imitation import Finding, Side
    from tuningfork.model.backbone import Backbone


SHOWN = 20
"""Prompts of each side whose answers go to the samples, spread evenly."""
_KNOWN = {
    "facts": ("teacher_is_better", "the teacher is right in {}, the student was in {}"),
    "probe": ("teacher_knows_more", "probability of a right word {} for the teacher, {} for the student before"),
}
"""Measures in which the teacher has to be clearly better, or the check says nothing."""


class StageSettings(Settings):
    """Settings of the stage `imitation`."""

    teacher: Input
    """model that was imitated"""
    before: Input
    """student before it imitated"""
    after: Input
    """student afterwards"""
    inside: Input
    """prompts of the imitated tasks: `{"id", "prompt", "root"}` rows"""
    outside: Input
    """prompts of other tasks"""
    imitated: Input | None = None
    """the data the student was trained on; prompts that occur in it are left out and counted"""
    gold: str = "colours"
    """who knows what is right: a world, or a module of evals"""
    truth: Input
    """artifact that holds what the gold judge knows"""
    probes: Input | None = None
    """prefixes with right next words, by root: facts without any question of style"""
    judge: Input | None = None
    """a further model whose likelihood, by token, prefers one of two answers; it must be neither teacher nor student"""
    sampling: SamplingSettings = SamplingSettings(max_new_tokens=40)
    """how all of them answer"""


def run(stage: StageContext, settings: StageSettings) -> None:
    """Answer, judge, compare, write imitation.json and samples.jsonl; the gate asks that the teacher knows more."""
    import json

    from tuningfork.evals.gold import load_gold
    from tuningfork.evals.imitation import verdict
    from tuningfork.model.loading import load_backbone

    gold = load_gold(settings.gold, Path(stage.inputs["truth"].reference))
    names = ("before", "after", "teacher")
    models = {name: load_backbone(stage.inputs[name].reference, stage.runtime) for name in names}
    judge = load_backbone(stage.inputs["judge"].reference, stage.runtime) if settings.judge else None
    findings: list[Finding] = []
    sides: tuple[Side, ...] = ("inside", "outside")
    for side in sides:
        rows = _rows(stage, side)
        findings += _one_side(stage, settings, models, judge, gold, side, rows)
    kind, text = verdict(findings)
    content = {"verdict": kind, "text": text, "findings": [finding.to_json() for finding in findings]}
    (stage.out / "imitation.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    for one in findings:
        figures = {"before": one.change.before, "after": one.change.after, "teacher": one.gap.after}
        stage.figures.update({f"{one.name}_{one.side}_{who}": value for who, value in figures.items()})
    stage.figures["verdict"] = kind
    stage.events.say(text)
    for one in findings:
        if one.name in _KNOWN:
            name, says = _KNOWN[one.name]
            teacher, student = f"{one.gap.after:.3f}", f"{one.change.before:.3f}"
            stage.gate(f"{name}_{one.side}", one.teacher_is_better, f"{one.side}: {says.format(teacher, student)}")


def _rows(stage: StageContext, side: Side) -> list[dict[str, Any]]:
    """Prompts of one side, without those that were trained on."""
    from tuningfork.data.duplicates import fingerprint
    from tuningfork.data.jsonl import read_jsonl
    from tuningfork.errors import DataError

    rows = read_jsonl(stage.inputs[side].reference, required=("id", "prompt", "root"))
    if "imitated" not in stage.inputs:
        return rows
    imitated = read_jsonl(stage.inputs["imitated"].reference, required=("prompt",))
    trained = {fingerprint(row["prompt"]) for row in imitated}
    kept = [row for row in rows if fingerprint(row["prompt"]) not in trained]
    stage.figures[f"{side}_prompts_trained_on"] = len(rows) - len(kept)
    stage.events.say(f"{side}: {len(kept):,} prompts; {len(rows) - len(kept):,} were trained on and are left out")
    if not kept:
        raise DataError(f"{side}: every prompt was trained on; leave some out of the imitation (`ask.limit`)")
    return kept


def _one_side(
    stage: StageContext,
    settings: StageSettings,
    models: Mapping[str, Backbone],
    judge: Backbone | None,
    gold: GoldJudge,
    side: Side,
    rows: Sequence[dict[str, Any]],
) -> list[Finding]:
    from tuningfork.evals.answers import answer_prompts
    from tuningfork.evals.imitation import Values, compare, preferences, style_values

    def answers(name: str, purpose: str) -> Answers:
        return answer_prompts(models[name], rows, settings.sampling, seed=stage.seed, purpose=purpose)

    drawn = {name: answers(name, "imitation") for name in models} | {"again": answers("teacher", "once more")}
    values = style_values(*(drawn[name].answers for name in ("before", "after", "teacher", "again")))
    judged = {name: gold.judge(rows, found.answers) for name, found in drawn.items()}
    known = [index for index, found in enumerate(judged["teacher"]) if "right" in found]
    for name, key in (("facts", "right"), ("preference", "looks_right")):
        scores = {who: [found.get(key, 0.0) for found in judged[who]] for who in drawn}
        if key == "looks_right":
            if not all(key in found for found in judged["teacher"]):
                continue
            scores = {who: preferences(found, scores["teacher"]) for who, found in scores.items()}
        values[name] = Values(scores["before"], scores["after"], scores["again" if name == "preference" else "teacher"])
    if judge is not None:
        likely = {who: _likelihoods(judge, rows, found) for who, found in drawn.items()}
        scores = {who: preferences(found, likely["teacher"]) for who, found in likely.items()}
        values["judge_preference"] = Values(scores["before"], scores["after"], scores["again"])
    roots = [str(row["root"]) for row in rows]
    findings = []
    for name, found in values.items():
        where = known if name == "facts" else range(len(rows))
        if where:
            chosen = Values(*([each[index] for index in where] for each in (found.before, found.after, found.teacher)))
            findings.append(compare(name, side, chosen, [roots[index] for index in where], stage.seed))
    for index in range(0, len(rows), max(1, len(rows) // SHOWN)):
        row = rows[index]
        texts = {who: found.answers[index].text for who, found in drawn.items() if who != "again"}
        stage.sample(side=side, prompt=row["prompt"], **texts)
    return findings + _probed(stage, models, side, set(roots))


def _probed(stage: StageContext, models: Mapping[str, Backbone], side: Side, roots: set[str]) -> list[Finding]:
    """Probability of a right word after a fixed prefix, for the roots of this side's prompts."""
    from tuningfork.data.jsonl import read_jsonl
    from tuningfork.evals.imitation import Values, compare
    from tuningfork.evals.knowledge import forced_probabilities

    if "probes" not in stage.inputs:
        return []
    probes = read_jsonl(stage.inputs["probes"].reference, required=("root", "prefix", "right"))
    probes = [row for row in probes if str(row["root"]) in roots]
    if not probes:
        return []
    found = Values(*(forced_probabilities(models[name], probes) for name in ("before", "after", "teacher")))
    return [compare("probe", side, found, [str(row["root"]) for row in probes], stage.seed)]


def _likelihoods(judge: Backbone, rows: Sequence[Mapping[str, Any]], answers: Answers) -> list[float]:
    """Mean log-probability by token of each answer and its end under a judge that reads texts with its own tokenizer."""
    from tuningfork.data.rows import TokenRow
    from tuningfork.streams.text import text_nll

    found = []
    for row, answer in zip(rows, answers.answers, strict=True):
        prompt, text = judge.encode([row["prompt"], answer.text])
        ids = [*judge.start_ids, *prompt, *text, judge.eos_id]
        num_context = len(ids) - len(text) - 1
        nll, count = text_nll(judge, [TokenRow(ids, [False] * num_context + [True] * (len(text) + 1))])
        found.append(-nll / count)
    return found
