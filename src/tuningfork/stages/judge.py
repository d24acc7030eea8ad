"""Let a judge compare responses in both orders; measure its biases, and its agreement with people before it is used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from tuningfork.data.reading import ReadingSettings
from tuningfork.judges.settings import JudgeSettings
from tuningfork.settings import Input, Settings
from tuningfork.stage import StageContext

if TYPE_CHECKING:
    from tuningfork.judges.base import Judge, Pair
    from tuningfork.judges.orders import Asked
    from tuningfork.judges.reliability import Label


class CheckSettings(Settings):
    """Pairs that people judged: the judge is tried on them first, and used only where it agrees."""

    labels: Input
    """judgements, or preferences with chosen and rejected responses"""
    reading: ReadingSettings = ReadingSettings()
    """what to make of their rows"""
    pairs: int = Field(default=300, ge=10)
    """how many pairs are used, drawn by seed"""
    minimum: float = Field(default=0.6, ge=0, le=1)
    """least share of the judge's choices that are people's"""
    maximum: float = Field(default=1.0, ge=0, le=1)
    """largest share; below 1 where a judge that is always right would make the experiment pointless"""


class StageSettings(Settings):
    """Settings of the stage `judge`."""

    judge: JudgeSettings
    """who compares"""
    data: Input
    """responses: judgements, preferences or rankings (their order is not shown to the judge); with `answers` any rows"""
    reading: ReadingSettings = ReadingSettings()
    """what to make of the rows of `data`"""
    answers: tuple[str, str] | None = None
    """two columns of rows without a judgement that hold the responses, such as [before, after] of an evaluation"""
    limit: int | None = Field(default=None, ge=1)
    """use only this many pairs, drawn by seed; empty uses all"""
    orders: Literal["both", "one"] = "both"
    """`both` orders of each pair, averaged; or `one`, drawn by seed, at half the cost and with the order's bias in it"""
    tie_margin: float = Field(default=0.0, ge=0, lt=0.5)
    """pairs whose probability is so near one half are ties"""
    constitution: Input | None = None
    """YAML file of principles: one is drawn for each pair and put into the question (`judge: {name: model}`)"""
    clamp: float | None = Field(default=None, gt=0.5, le=1)
    """largest probability of a soft label; .6 where the judge writes its reasons first, after which it is nearly always sure"""
    check: CheckSettings | None = None
    """agreement with people, measured first; a judge that does not agree stops the run before it judges anything else"""
    most_unreadable: float = Field(default=0.1, ge=0, le=1)
    """largest share of pairs on which the judge's reply cannot be understood"""


def run(stage: StageContext, settings: StageSettings) -> None:
    """Check, judge, write judgements.jsonl; figures of order, length and agreement."""
    from tuningfork.data.judgements import write_judgements
    from tuningfork.errors import RecipeError
    from tuningfork.judges import load_judge
    from tuningfork.judges.orders import ask
    from tuningfork.judges.records import record

    if settings.constitution and settings.judge.name != "model":
        raise RecipeError(f"judge.constitution has no effect: {settings.judge.name} reads no principle; remove it")
    judge = load_judge(stage, settings.judge)
    if settings.check and not _agrees(stage, settings, settings.check, judge):
        return
    pairs, labels = _pairs(stage, settings)
    asked = ask(judge, pairs, settings.orders, stage.seed)
    kept = [found for one in asked if (found := record(one, judge, settings.tie_margin, settings.clamp)) is not None]
    write_judgements(stage.out / "judgements.jsonl", kept)
    left = _count_unasked(asked)
    unreadable = len(asked) - len(kept) - left
    ties = sum(not judgement.pairs() for judgement in kept)
    stage.figures.update(pairs=len(asked), judged=len(kept), ties=ties, unreadable=unreadable, left_unasked=left)
    _describe(stage, settings, asked, labels, "")
    for one in asked[:20]:
        stage.sample(
            prompt=one.pair.prompt, a=one.pair.a.text, b=one.pair.b.text, probability=one.probability,
            label=labels.get(one.pair.id), forward=one.forward and one.forward.note, backward=one.backward and one.backward.note,
        )  # fmt: skip
    if hasattr(judge, "asker"):
        judge.asker.report()  # type: ignore[attr-defined]
    stage.gate(
        "readable",
        unreadable <= settings.most_unreadable * len(asked) and bool(kept),
        f"{len(kept):,} of {len(asked):,} pairs judged, {ties:,} of them ties; {unreadable:,} replies could not be "
        f"understood (at most {settings.most_unreadable:.0%}), {left:,} pairs were not asked about",
    )


def _agrees(stage: StageContext, settings: StageSettings, check: CheckSettings, judge: Judge) -> bool:
    """Whether the judge agrees with people on a sample of their pairs."""
    from tuningfork.data.adapters import RANKING_SHAPES
    from tuningfork.data.judgements import read_judgements
    from tuningfork.judges.orders import ask
    from tuningfork.judges.records import pairs_of

    data = check.reading.open(stage.inputs["check.labels"].reference, RANKING_SHAPES)
    pairs, labels = pairs_of(read_judgements(data))
    chosen = _some(stage, [pair for pair in pairs if pair.id in labels], check.pairs, "check")
    chosen = _with_principles(stage, settings, chosen)
    asked = ask(judge, chosen, settings.orders, stage.seed)
    found = _describe(stage, settings, asked, labels, "check_")
    share = found.get("check_agreement")
    if share is None:
        stage.gate("agreement", False, f"the judge chose a response in none of {len(chosen)} labelled pairs")
        return False
    low, high = found["check_ci95"]
    message = (
        f"the judge agrees with {share:.3f} of {found['check_pairs']} labels (95 % interval {low:.3f} to {high:.3f}; "
        f"{check.minimum:g} to {check.maximum:g} is asked for), kappa {found['check_kappa']:.2f}"
    )
    passed = check.minimum <= share <= check.maximum
    stage.gate("agreement", passed, message, agreement=share)
    return passed


def _pairs(stage: StageContext, settings: StageSettings) -> tuple[list[Pair], dict[str, Label]]:
    """What is to be judged, and labels where the data have some."""
    from tuningfork.data.adapters import RANKING_SHAPES
    from tuningfork.data.judgements import read_judgements
    from tuningfork.errors import DataError
    from tuningfork.judges.records import pairs_of, unlabelled_pairs

    source = stage.inputs["data"].reference
    if settings.answers:
        pairs, labels = unlabelled_pairs(source, settings.answers), dict[str, Any]()
    else:
        pairs, labels = pairs_of(read_judgements(settings.reading.open(source, RANKING_SHAPES)))
    if not pairs:
        raise DataError(f"{source}: no two responses to compare")
    return _with_principles(stage, settings, _some(stage, pairs, settings.limit, "pairs")), labels


def _with_principles(stage: StageContext, settings: StageSettings, pairs: Sequence[Pair]) -> list[Pair]:
    """The pairs, each with a principle of the constitution, the same in both orders."""
    from dataclasses import replace
    from pathlib import Path

    from tuningfork.judges.constitution import load_constitution

    if settings.constitution is None:
        return list(pairs)
    constitution = load_constitution(Path(stage.inputs["constitution"].reference))
    drawn = constitution.draw("prefer", [pair.id for pair in pairs], stage.seed, "prefer")
    return [
        replace(pair, row={**pair.row, "principle": principle.prefer})
        for pair, principle in zip(pairs, drawn, strict=True)
    ]


def _some(stage: StageContext, pairs: Sequence[Pair], limit: int | None, purpose: str) -> list[Pair]:
    from tuningfork.randomness import numpy_generator

    if limit is None or limit >= len(pairs):
        return list(pairs)
    chosen = sorted(numpy_generator(stage.seed, purpose).permutation(len(pairs))[:limit].tolist())
    return [pairs[index] for index in chosen]


def _describe(
    stage: StageContext, settings: StageSettings, asked: Sequence[Asked], labels: Mapping[str, Label], prefix: str
) -> dict[str, Any]:
    """Figures of order, length and agreement; they are recorded, said, and returned."""
    from tuningfork.judges.reliability import figures, length_bias, order_bias, reliability

    order = order_bias(asked, stage.seed)
    length = length_bias(asked, labels, settings.tie_margin)
    agreement = reliability(asked, labels, stage.seed, settings.tie_margin) if labels else None
    found = figures(order, f"{prefix}order_") | figures(length, f"{prefix}length_") | figures(agreement, prefix)
    if not prefix:  # the stage's own counts of pairs and ties stand already
        found = {{"pairs": "labelled_pairs", "ties": "labelled_ties"}.get(name, name): v for name, v in found.items()}
    stage.figures.update(found)
    if order:
        stage.events.say(
            f"order: the response shown first is preferred with probability {order.first_share:.3f}; {order.inconsistent:.1%} of "
            f"{order.pairs} pairs are judged differently in the other order"
        )
    if length:
        beside = "" if length.longer_share_of_labels is None else f" (labels: {length.longer_share_of_labels:.3f})"
        stage.events.say(
            f"length: the longer response is preferred in {length.longer_share:.3f} of {length.pairs} pairs{beside}"
        )
    if agreement:
        stage.events.say(
            f"agreement with labels: {agreement.agreement:.3f} of {agreement.pairs}, kappa {agreement.kappa:.2f}"
        )
    return found


def _count_unasked(asked: Sequence[Asked]) -> int:
    """Pairs that a cap left unasked, in either order."""
    return sum(
        (one.is_asked_forward and one.forward is None) or (one.is_asked_backward and one.backward is None)
        for one in asked
    )
