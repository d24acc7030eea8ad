"""Feedback as a number: texts with a rating."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tuningfork.data.adapters import Placed
from tuningfork.data.reward_inputs import PlainAnswer, RewardInputs
from tuningfork.data.stage_audit import audit_stage
from tuningfork.errors import DataError, RecipeError
from tuningfork.evals.correlation import spearman
from tuningfork.evals.feedback import Compared
from tuningfork.reward_training.scoring import mean_scores
from tuningfork.reward_training.task import (
    Fitting,
    HeldOut,
    both_or_error,
    heldout_data,
    item_of,
    limited,
    random_pairs,
    split,
    standardiser,
    without_overlap,
)
from tuningfork.streams.comparisons import ComparedTexts, ComparisonStream, Ordered
from tuningfork.streams.judgements import JudgedText
from tuningfork.streams.ratings import RatedText, RatingStream

if TYPE_CHECKING:
    from tuningfork.data.reader import Dataset
    from tuningfork.model.reward_model import RewardModel
    from tuningfork.stage import StageContext


class RatingTask:
    """Regression on standardised ratings, or Bradley-Terry on pairs of texts of different rating."""

    def __init__(self, stage: StageContext, settings: Any, inputs: RewardInputs, data: Dataset) -> None:
        self.stage, self.settings, self.ratings = stage, settings, settings.ratings
        if self.ratings.learn == "values" and settings.margin is not None:
            raise RecipeError("margin is about pairs and has no effect on ratings: {learn: values}; remove it")
        unseen = heldout_data(stage, settings, ("labelled",))
        rows = list(data.placed())
        audit_stage(stage, data, rows, "labelled")
        train, heldout = split(stage, settings, rows, list(unseen.placed()) if unseen else None, _root)
        train = without_overlap(settings, train, heldout, lambda row: row[1]["text"], "text")
        train = limited(stage, train, settings.rows)
        fitting = Fitting(inputs, settings.reads_response)
        fitted = _fitted(train, fitting)
        self.texts = [text for _, text in fitted]
        self.values = [_number(row) for row, _ in fitted]
        self.words = [("", row["text"], "") for row, _ in fitted]
        self.mean, self.deviation = standardiser(self.values)
        self.heldout = self._hold_out(limited(stage, heldout, settings.card.comparisons), fitting)
        fitting.report(stage)
        both_or_error(self.texts, self.heldout.items, "rated texts")
        self.elements = self._pairs() if self.ratings.learn == "pairs" else []
        self.num_rows = len(self.elements) if self.ratings.learn == "pairs" else len(self.texts)
        stage.figures.update(texts=len(self.texts), rating_mean=self.mean, rating_deviation=self.deviation)

    def stream(self, reward_model: RewardModel, seed: int) -> RatingStream | ComparisonStream:
        """Batches of texts, or of pairs."""
        rows, micro = self.settings.batch_rows, self.settings.micro_batch
        if self.ratings.learn == "pairs":
            return ComparisonStream(
                reward_model, self.elements, self.settings.loss, batch_elements=rows, seed=seed, micro_batch=micro
            )
        rated = [
            RatedText(text, ((value - self.mean) / self.deviation,))
            for text, value in zip(self.texts, self.values, strict=True)
        ]
        return RatingStream(reward_model, rated, self.ratings.loss, batch_rows=rows, seed=seed, micro_batch=micro)

    def measure(self, models: Sequence[RewardModel]) -> None:
        """Rank correlation of score and rating on held-out texts."""
        scores = mean_scores(models, self.heldout.items)
        found = spearman(scores, self.heldout.ratings)
        self.stage.figures["spearman"] = found
        self.stage.gate(
            "spearman",
            found is not None and found >= self.ratings.minimum,
            f"rank correlation of score and rating {found if found is None else round(found, 3)} on {len(scores):,} held-out "
            f"texts (at least {self.ratings.minimum})",
        )

    def _pairs(self) -> list[ComparedTexts]:
        settings, margin = self.ratings, self.settings.margin
        found = []
        for a, b in random_pairs(self.stage.seed, self.values, settings.pairs_per_text, settings.least_difference):
            size = margin.scale * (self.values[a] - self.values[b]) if margin is not None else 0.0
            size = min(size, margin.most) if margin is not None and margin.most is not None else size
            found.append(ComparedTexts((self.texts[a], self.texts[b]), (Ordered(0, 1, size),), (1, 2)))
        if not found:
            raise DataError(f"no two of {len(self.texts):,} texts differ by more than {settings.least_difference:g}")
        return found

    def _hold_out(self, rows: list[Placed], fitting: Fitting) -> HeldOut:
        heldout = HeldOut()
        for row, text in _fitted(rows, fitting):
            heldout.add(item_of(text, "", row["text"]), _root(("", row)))
            heldout.ratings.append(_number(row))
        for a, b in random_pairs(self.stage.seed, heldout.ratings, 2, 0.0):
            strength = heldout.ratings[a] - heldout.ratings[b]
            heldout.comparisons.append(Compared(a, b, root=heldout.roots[a], strength=strength))
        return heldout


def _root(placed: Placed) -> str:
    row = placed[1]
    return str(row.get("extra", {}).get("root", row["text"]))


def _number(row: dict[str, Any]) -> float:
    label = row["label"]
    if isinstance(label, bool) or not isinstance(label, int | float):
        raise DataError(f"the rating {label!r} is no number; where labels are classes say labels: {{...}} instead")
    return float(label)


def _fitted(rows: list[Placed], fitting: Fitting) -> list[tuple[dict[str, Any], JudgedText]]:
    texts = fitting.encode([PlainAnswer("", row["text"]) for _, row in rows])
    return [(row, text) for (_, row), text in zip(rows, texts, strict=True) if text is not None]
