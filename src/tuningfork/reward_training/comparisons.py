"""Feedback that compares answers: pairs, rankings of K, comparisons that may contradict each other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from tuningfork.data.judgements import Judgement, read_judgements
from tuningfork.data.reward_inputs import PlainAnswer, RewardInputs, TokenizedAnswer
from tuningfork.data.shapes.ranking import places_of
from tuningfork.evals.feedback import Compared
from tuningfork.reward_training.task import (
    Fitting,
    HeldOut,
    both_or_error,
    heldout_data,
    item_of,
    limited,
    split,
    without_overlap,
)
from tuningfork.streams.comparisons import ComparedTexts, ComparisonStream, Ordered
from tuningfork.streams.judgements import JudgedText

if TYPE_CHECKING:
    from tuningfork.data.reader import Dataset
    from tuningfork.model.reward_model import RewardModel
    from tuningfork.reward_training.settings import MarginSettings
    from tuningfork.stage import StageContext


class ComparisonTask:
    """Bradley-Terry, K-wise or listwise on judgements, split by root."""

    def __init__(self, stage: StageContext, settings: Any, inputs: RewardInputs, data: Dataset) -> None:
        from tuningfork.data.adapters import RANKING_SHAPES

        self.stage, self.settings = stage, settings
        unseen = heldout_data(stage, settings, RANKING_SHAPES)
        train, heldout = split_judgements(stage, settings, data, unseen)
        fitting = Fitting(inputs, settings.reads_response)
        self.elements = [one for group in self._groups(train) for one in self._elements(group, fitting)]
        self.words = [words for judgement in train for words in pair_words(judgement)]
        self.heldout = self._hold_out(heldout, fitting)
        fitting.report(stage)
        both_or_error(self.elements, self.heldout.comparisons, "comparisons")
        self.num_rows = len(self.elements)
        orders = sum(len(element.orders) for element in self.elements)
        stage.figures.update(elements=self.num_rows, comparisons=orders, heldout_pairs=len(self.heldout.comparisons))
        stage.events.say(f"{orders:,} comparisons in {self.num_rows:,} elements ({settings.loss.form})")

    def stream(self, reward_model: RewardModel, seed: int) -> ComparisonStream:
        """Batches of elements."""
        return ComparisonStream(
            reward_model,
            self.elements,
            self.settings.loss,
            batch_elements=self.settings.batch_rows,
            seed=seed,
            micro_batch=self.settings.micro_batch,
        )

    def measure(self, models: Sequence[RewardModel]) -> None:
        """Nothing beside the card."""

    def _groups(self, judgements: Sequence[Judgement]) -> list[list[Judgement]]:
        """Judgements of the same answers to the same prompt together; each alone where the loss is of pairs."""
        if self.settings.loss.form == "pairs":
            return [[judgement] for judgement in judgements]
        groups: dict[tuple[Any, ...], list[Judgement]] = {}
        for judgement in judgements:
            groups.setdefault(item_key(judgement), []).append(judgement)
        return list(groups.values())

    def _elements(self, group: Sequence[Judgement], fitting: Fitting) -> Iterable[ComparedTexts]:
        texts = judged_texts(group[0], fitting)
        orders = [
            Ordered(better, worse, margin_of(judgement, better, worse, self.settings.margin))
            for judgement in group
            for better, worse in judgement.pairs()
            if texts[better] is not None and texts[worse] is not None
        ]
        if self.settings.loss.form == "pairs":
            return [_element(texts, [order], {order.better: 1, order.worse: 2}) for order in orders]
        return [_element(texts, orders, _places(group, texts))] if orders else []

    def _hold_out(self, judgements: Sequence[Judgement], fitting: Fitting) -> HeldOut:
        heldout, numbers = HeldOut(), dict[tuple[str, str, str], int]()
        most = self.settings.card.comparisons
        for judgement in limited(self.stage, judgements, most, item_key):
            texts = judged_texts(judgement, fitting)
            for better, worse in judgement.pairs():
                pair = []
                for number in (better, worse):
                    text, answer = texts[number], judgement.candidates[number].text
                    if text is not None:
                        key = (judgement.item, judgement.prompt, answer)
                        if key not in numbers:
                            numbers[key] = heldout.add(item_of(text, judgement.prompt, answer), judgement.root)
                        pair.append(numbers[key])
                if len(pair) == 2 and pair[0] != pair[1]:
                    heldout.comparisons.append(
                        Compared(
                            *pair,
                            root=judgement.root,
                            strength=strength_of(judgement, better, worse),
                            source=judgement.source,
                            rater=judgement.rater.id,
                        )
                    )
        heldout.comparisons = limited(self.stage, heldout.comparisons, most)
        return heldout


def split_judgements(
    stage: StageContext, settings: Any, data: Dataset, unseen: Dataset | None
) -> tuple[list[Judgement], list[Judgement]]:
    """Audited judgements to train on and held-out ones, no prompt on both sides."""
    from tuningfork.data.stage_audit import audit_stage

    judgements = read_judgements(data)
    held = read_judgements(unseen) if unseen is not None else None
    audit_stage(stage, data, [(f"judgement {j.id}", j.as_ranking()) for j in judgements], "ranking")
    train, heldout = split(stage, settings, judgements, held, lambda judgement: judgement.root)
    kept = without_overlap(settings, train, heldout, lambda judgement: judgement.prompt, "prompt")
    if len(kept) < len(train):
        stage.events.say(f"left out {len(train) - len(kept):,} judgements whose prompt is held out")
    return limited(stage, kept, settings.rows, item_key), heldout


def item_key(judgement: Judgement) -> tuple[str, ...]:
    """Equal for judgements of the same answers to the same prompt."""
    return (judgement.item, judgement.prompt, *(candidate.text for candidate in judgement.candidates))


def judged_texts(judgement: Judgement, fitting: Fitting) -> list[JudgedText | None]:
    """The candidates as ids: those that were sampled where they are known; None for what does not fit."""
    answers = [
        PlainAnswer(judgement.prompt, candidate.text, judgement.messages, candidate.has_ended)
        for candidate in judgement.candidates
    ]
    encoded = fitting.inputs.encode(answers)
    return [
        fitting.fit(TokenizedAnswer(judgement.prompt_ids or ids.prompt, candidate.ids or ids.response))
        for ids, candidate in zip(encoded, judgement.candidates, strict=True)
    ]


def pair_words(judgement: Judgement) -> Iterable[tuple[str, str, str]]:
    """(prompt, better, worse) texts of each comparison."""
    texts = [candidate.text for candidate in judgement.candidates]
    return ((judgement.prompt, texts[better], texts[worse]) for better, worse in judgement.pairs())


def margin_of(judgement: Judgement, better: int, worse: int, settings: MarginSettings | None) -> float:
    """What the scores of two candidates shall be apart; 0 without a margin, or where nobody said how much better it was."""
    if settings is None:
        return 0.0
    if settings.source == "places":
        value = float(_place(judgement, worse) - _place(judgement, better))
    elif settings.source == "strength":
        value = judgement.strength if better in judgement.ranking[0] else 0.0
    else:
        value = _rating_difference(judgement, better, worse)
    margin = settings.scale * max(0.0, value)
    return margin if settings.most is None else min(margin, settings.most)


def strength_of(judgement: Judgement, better: int, worse: int) -> float:
    """How much better one candidate was found, as far as anybody said: by strength, ratings, or the places between them."""
    if judgement.strength and better in judgement.ranking[0]:
        return judgement.strength
    if judgement.ratings:
        return _rating_difference(judgement, better, worse)
    return float(_place(judgement, worse) - _place(judgement, better)) if len(judgement.ranking) > 2 else 0.0


def _rating_difference(judgement: Judgement, better: int, worse: int) -> float:
    if not judgement.ratings:
        return 0.0
    first, second = judgement.ratings[better], judgement.ratings[worse]
    shared = first.keys() & second.keys()
    return sum(first[name] - second[name] for name in shared) / len(shared) if shared else 0.0


def _place(judgement: Judgement, candidate: int) -> int:
    return next(place for place, group in enumerate(judgement.ranking) if candidate in group)


def _places(group: Sequence[Judgement], texts: Sequence[JudgedText | None]) -> dict[int, int]:
    """Place of every candidate that was ranked and fits: of one ranking its own, of several by comparisons won less lost."""
    ranked = sorted({n for judgement in group for tied in judgement.ranking for n in tied if texts[n] is not None})
    if len(group) == 1:
        return {number: _place(group[0], number) + 1 for number in ranked}
    compared = [[better, worse, 1] for judgement in group for better, worse in judgement.pairs()]
    places = places_of(compared, len(texts))
    return {number: places[number] for number in ranked}


def _element(texts: Sequence[JudgedText | None], orders: Sequence[Ordered], places: dict[int, int]) -> ComparedTexts:
    """An element of the texts that have a place."""
    numbers = {old: new for new, old in enumerate(places)}
    kept = tuple(text for old in places if (text := texts[old]) is not None)
    moved = tuple(Ordered(numbers[o.better], numbers[o.worse], o.margin) for o in orders)
    return ComparedTexts(kept, moved, tuple(places.values()))
