"""Measures a reward model on held-out feedback, writes its card, and sets the gates."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, median, pstdev
from typing import TYPE_CHECKING, Any

from tuningfork.artifacts.files import write_json, write_text
from tuningfork.evals.baselines import length_rule, tfidf_scores
from tuningfork.evals.card_text import card_markdown
from tuningfork.evals.probes import fixed_probes
from tuningfork.evals.reward_card import Measured, build_card
from tuningfork.evals.sensitivity import REWRITES, rewritten, sensitivity
from tuningfork.randomness import numpy_generator
from tuningfork.reward.base import Item
from tuningfork.reward_training.scoring import known_scores, score_items

if TYPE_CHECKING:
    from tuningfork.model.reward_model import RewardModel
    from tuningfork.reward_training.task import HeldOut
    from tuningfork.reward_training.training import Prepared
    from tuningfork.stage import StageContext

CARD_FILE, FINDINGS_FILE = "card.json", "findings.md"
_MIB = 1 << 20


def write_card(stage: StageContext, settings: Any, prepared: Prepared, models: Sequence[RewardModel]) -> dict[str, Any]:
    """Write card.json and its text, record figures and gates; returns what the artifact is to say of its own fitness."""
    measured = _measure(stage, settings, prepared, models)
    card = build_card(measured, settings.card, settings.minimum_accuracy, stage.seed)
    write_json(stage.out / CARD_FILE, card)
    write_text(stage.out / FINDINGS_FILE, card_markdown(card))
    for sentence in card["verdict"]["sentences"]:
        stage.events.say(sentence)
    return _judge(stage, settings, card)


def _judge(stage: StageContext, settings: Any, card: dict[str, Any]) -> dict[str, Any]:
    found, verdict = card["accuracy"], card["verdict"]
    share, minimum = found["share"], settings.minimum_accuracy
    stage.figures.update(
        accuracy=share,
        accuracy_ci95=list(found["ci95"]),
        heldout_pairs=found["n"],
        usable=verdict["usable"],
        relation=card["relation"]["spearman"],
        length_correlation=card["length"]["within"],
        calibration_error=(card["calibration"]["raw"] or card["calibration"]["fitted"] or {}).get("ece"),
        temperature=card["calibration"]["temperature"],
        baselines={row["name"]: row["share"] for row in card["baselines"]},
    )
    stage.gate(
        "accuracy",
        share >= minimum,
        f"{share:.3f} of {found['n']} held-out comparisons in the right order (95 % interval {found['ci95'][0]:.3f} to "
        f"{found['ci95'][1]:.3f}; at least {minimum})",
        accuracy=share,
    )
    if settings.card.gate == "none":
        return {}
    if settings.card.gate == "stop":
        stage.gate("beats_length", verdict["beats_length"], card["verdict"]["sentences"][2])
    elif not verdict["usable"]:
        stage.events.say(f"warning: {verdict['reason']}; reinforcement learning will refuse this reward model")
    return {"usable": verdict["usable"], "reason": verdict["reason"]}


def _measure(stage: StageContext, settings: Any, prepared: Prepared, models: Sequence[RewardModel]) -> Measured:
    task, heldout = prepared.task, prepared.task.heldout
    columns = [score_items(model, heldout.items) for model in models]
    scores = [fmean(values) for values in zip(*columns, strict=True)]
    answers = [item.response for item in heldout.items]
    values = getattr(task, "values", None)
    rule, _ = length_rule(task.words, values)
    is_regression = bool(settings.criteria) or (settings.ratings is not None and settings.ratings.learn == "values")
    measured = Measured(
        answers=answers,
        prompts=[item.prompt for item in heldout.items],
        roots=heldout.roots,
        scores=scores,
        comparisons=heldout.comparisons,
        ratings=heldout.ratings,
        unit=fmean(model.gain for model in models),
        is_log_odds=not is_regression,
        rule=rule,
        disagreement=[pstdev(group) for group in zip(*columns, strict=True)] if len(models) > 1 else (),
        trunk=_trunk(models[0]),
    )
    baselines: dict[str, list[float]] = {}
    if prepared.likelihood:
        baselines["likelihood"] = [value for value, _ in prepared.likelihood]
        baselines["likelihood a token"] = [value / count for value, count in prepared.likelihood]
    if settings.card.words:
        baselines["words (TF-IDF)"] = tfidf_scores(task.words, values, answers, stage.seed)
    measured.baselines = baselines
    _add_rewrites(stage, settings, models, heldout, measured)
    _add_probes(stage, settings, models, heldout, measured)
    if settings.card.compare:
        measured.other = _other(stage, settings, heldout)
    return measured


def _scores_of(models: Sequence[RewardModel], items: Sequence[Item]) -> list[float | None]:
    """Mean scores of answers as texts, None where one cannot be scored."""
    from tuningfork.reward.kinds.learned import Learned

    columns = [[score.total for score in Learned(model).score(items)] for model in models]
    return [
        None if any(value is None for value in values) else fmean(v for v in values if v is not None)
        for values in zip(*columns, strict=True)
    ]


def _add_rewrites(
    stage: StageContext, settings: Any, models: Sequence[RewardModel], heldout: HeldOut, measured: Measured
) -> None:
    """Scores of better answers that are rewritten, against those of the same answers as texts."""
    better = sorted({c.better for c in heldout.comparisons})
    draws = numpy_generator(stage.seed, "rewrites").permutation(len(better))[: settings.card.rewrites]
    chosen = [better[index] for index in sorted(draws.tolist())]
    if not chosen:
        return
    plain = _scores_of(models, [Item(heldout.items[n].prompt, heldout.items[n].response) for n in chosen])
    before = list(measured.scores)
    for number, value in zip(chosen, plain, strict=True):
        before[number] = measured.scores[number] if value is None else value
    deviation = pstdev(measured.scores) or 1.0
    found = []
    for name, (rewrite, wanted) in REWRITES.items():
        changed = [
            (chosen[place], text) for place, text in rewritten([heldout.items[n].response for n in chosen], rewrite)
        ]
        values = _scores_of(models, [Item(heldout.items[n].prompt, text) for n, text in changed])
        after = {n: value for (n, _), value in zip(changed, values, strict=True) if value is not None}
        found.append(sensitivity(name, wanted, before, after, heldout.comparisons, deviation))
    measured.rewrites = [one for one in found if one is not None]


def _add_probes(
    stage: StageContext, settings: Any, models: Sequence[RewardModel], heldout: HeldOut, measured: Measured
) -> None:
    """Answers nobody wants against the median better answer: to the same prompt, or of all where there are no prompts."""
    good: dict[str, list[int]] = {}
    for number in sorted({c.better for c in heldout.comparisons}):
        good.setdefault(heldout.items[number].prompt, []).append(number)
    prompts = list(good)
    draws = numpy_generator(stage.seed, "probes").permutation(len(prompts))[: settings.card.probes]
    prompts = [prompts[index] for index in sorted(draws.tolist())]
    if not prompts:
        return
    honest = [[heldout.items[n].response for n in good[prompt][:4]] for prompt in prompts]
    bars = [median(measured.scores[n] for n in good[prompt]) for prompt in prompts]
    found = {}
    for name, texts in fixed_probes(prompts, honest).items():
        longest = max(len(text) for group in honest for text in group)
        values = _scores_of(models, [Item(p, text[: 2 * longest]) for p, text in zip(prompts, texts, strict=True)])
        beats = [value is not None and value > bar for value, bar in zip(values, bars, strict=True)]
        found[name] = {"beats": sum(beats) / len(beats), "n": len(beats), "example": texts[0][:200]}
    measured.probes = found


def _other(stage: StageContext, settings: Any, heldout: HeldOut) -> dict[str, Any]:
    """The reward model of `card.compare` on the same answers."""
    from tuningfork.model.reward_model import RewardModel
    from tuningfork.reward.ensemble import member_folders
    from tuningfork.reward.kinds.learned import open_folder

    source = stage.inputs["card.compare"].reference
    plain = [Item(item.prompt, item.response) for item in heldout.items]
    scores = known_scores(open_folder(source, stage.runtime), plain)
    first = (member_folders(source) or [Path(source)])[0]
    return {"name": settings.card.compare, "scores": scores, "trunk": _trunk(RewardModel.load(first, stage.runtime))}


def _trunk(model: RewardModel) -> dict[str, Any]:
    """Whether policy and reward can share one trunk, and what each way costs in memory."""
    whole = sum(p.numel() * p.element_size() for p in model.backbone.model.parameters())
    if not model.can_share:
        return {"can_be_shared": False, "trunk_mb": whole / _MIB, "own_mb": whole / _MIB}
    own = {id(p): p for m in model.modules().values() for p in m.parameters() if p.requires_grad}
    size = sum(p.numel() * p.element_size() for p in own.values())
    return {"can_be_shared": True, "trunk_mb": whole / _MIB, "own_mb": size / _MIB}
