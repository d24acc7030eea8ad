"""Feedback on several criteria of the user's own list: a head for each, their weighted sum the score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tuningfork.data.judgements import Judgement
from tuningfork.data.reward_inputs import RewardInputs
from tuningfork.errors import DataError
from tuningfork.evals.correlation import spearman
from tuningfork.evals.feedback import Compared
from tuningfork.methods import regression
from tuningfork.reward_training.comparisons import item_key, judged_texts, pair_words, split_judgements
from tuningfork.reward_training.scoring import raw_scores
from tuningfork.reward_training.task import (
    Fitting,
    HeldOut,
    both_or_error,
    heldout_data,
    item_of,
    limited,
    standardiser,
)
from tuningfork.streams.ratings import RatedText, RatingStream

if TYPE_CHECKING:
    from tuningfork.data.reader import Dataset
    from tuningfork.model.reward_model import RewardModel
    from tuningfork.stage import StageContext


class CriteriaTask:
    """Regression of each criterion's standardised ratings on a head of its own.

    Rankings say nothing to the heads; on held-out prompts they are what the weighted sum is measured against. Where a
    judgement ranks nothing, answers are ordered by the weighted sum of their ratings.
    """

    def __init__(self, stage: StageContext, settings: Any, inputs: RewardInputs, data: Dataset) -> None:
        from tuningfork.data.adapters import RANKING_SHAPES

        self.stage, self.settings = stage, settings
        self.names = tuple(settings.criteria)
        train, heldout = split_judgements(stage, settings, data, heldout_data(stage, settings, RANKING_SHAPES))
        fitting = Fitting(inputs, settings.reads_response)
        rated = [
            (text, judgement.ratings[number])
            for judgement in train
            if judgement.ratings
            for number, text in enumerate(judged_texts(judgement, fitting))
            if text is not None
        ]
        self.scales = {name: standardiser(_known(data.source, name, [r for _, r in rated])) for name in self.names}
        self.texts = [RatedText(text, tuple(self._standard(ratings))) for text, ratings in rated]
        self.words = [words for judgement in train for words in pair_words(judgement)]
        self.heldout, self.ratings = HeldOut(), list[dict[str, float]]()
        for judgement in limited(stage, heldout, settings.card.comparisons, item_key):
            self._hold_out(judgement, fitting)
        fitting.report(stage)
        both_or_error(self.texts, self.heldout.comparisons, "rated judgements")
        self.num_rows = len(self.texts)
        stage.figures.update(texts=self.num_rows, heldout_pairs=len(self.heldout.comparisons))

    def stream(self, reward_model: RewardModel, seed: int) -> RatingStream:
        """Batches of rated answers."""
        loss = self.settings.ratings.loss if self.settings.ratings else regression.Settings()
        return RatingStream(
            reward_model,
            self.texts,
            loss,
            batch_rows=self.settings.batch_rows,
            seed=seed,
            micro_batch=self.settings.micro_batch,
        )

    def measure(self, models: Sequence[RewardModel]) -> None:
        """Put the heads on one scale, and the rank correlation of each with its ratings on held-out answers."""
        import torch

        every = [raw_scores(model, self.heldout.items) for model in models]
        for model, raw in zip(models, every, strict=True):
            model.standardise(raw)
        raw = torch.stack(every).mean(0)
        found = {}
        for index, name in enumerate(self.names):
            rows = [row for row, ratings in enumerate(self.ratings) if name in ratings]
            found[name] = spearman([float(raw[row, index]) for row in rows], [self.ratings[row][name] for row in rows])
        self.stage.figures["spearman_by_criterion"] = found
        worst = min(self.names, key=lambda name: -1.0 if found[name] is None else found[name] or 0.0)
        minimum, value = (self.settings.ratings.minimum if self.settings.ratings else 0.0), found[worst]
        self.stage.gate(
            "criteria",
            value is not None and value >= minimum,
            f"the head least true to its ratings is {worst}: rank correlation {value if value is None else round(value, 3)} "
            f"(at least {minimum})",
        )

    def _standard(self, ratings: dict[str, float]) -> list[float | None]:
        return [
            (ratings[name] - self.scales[name][0]) / self.scales[name][1] if name in ratings else None
            for name in self.names
        ]

    def _weighted(self, ratings: dict[str, float]) -> float:
        values = zip(self.settings.criteria.values(), self._standard(ratings), strict=True)
        return sum(weight * value for weight, value in values if value is not None)

    def _hold_out(self, judgement: Judgement, fitting: Fitting) -> None:
        numbers = {}
        for place, text in enumerate(judged_texts(judgement, fitting)):
            if text is not None:
                answer = judgement.candidates[place].text
                numbers[place] = self.heldout.add(item_of(text, judgement.prompt, answer), judgement.root)
                self.ratings.append(judgement.ratings[place] if judgement.ratings else {})
        totals = {place: self._weighted(judgement.ratings[place]) if judgement.ratings else 0.0 for place in numbers}
        pairs = judgement.pairs() or [(a, b) for a in totals for b in totals if totals[a] > totals[b]]
        self.heldout.comparisons += [
            Compared(
                numbers[a],
                numbers[b],
                root=judgement.root,
                strength=max(0.0, totals[a] - totals[b]),
                source=judgement.source,
                rater=judgement.rater.id,
            )
            for a, b in pairs
            if a in numbers and b in numbers
        ]


def _known(source: str, name: str, ratings: list[dict[str, float]]) -> list[float]:
    """Ratings on one criterion; DataError where there are none."""
    found = [row[name] for row in ratings if name in row]
    if not found:
        named = sorted({key for row in ratings for key in row})
        raise DataError(
            f"{source}: no answer is rated on {name!r}; the criteria are {', '.join(named) or 'none at all'}"
        )
    return found
