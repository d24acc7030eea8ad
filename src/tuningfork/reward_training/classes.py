"""Feedback as classes of texts, good or bad, of which any window may be read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tuningfork.data.adapters import Placed
from tuningfork.data.reward_inputs import RewardInputs
from tuningfork.data.stage_audit import audit_stage
from tuningfork.evals.feedback import Compared
from tuningfork.reward.base import Item
from tuningfork.reward_training.scoring import mean_scores
from tuningfork.reward_training.task import (
    HeldOut,
    both_or_error,
    heldout_data,
    label_value,
    limited,
    random_pairs,
    split,
    without_overlap,
)
from tuningfork.streams.judgements import JudgedText
from tuningfork.streams.labels import LabelledText, LabelStream

if TYPE_CHECKING:
    from tuningfork.data.reader import Dataset
    from tuningfork.model.reward_model import RewardModel
    from tuningfork.stage import StageContext


class ClassTask:
    """Logistic loss on random windows of labelled texts."""

    def __init__(self, stage: StageContext, settings: Any, inputs: RewardInputs, data: Dataset) -> None:
        self.stage, self.settings, self.labels, self.inputs = stage, settings, settings.labels, inputs
        unseen = heldout_data(stage, settings, ("labelled",))
        rows = list(data.placed())
        audit_stage(stage, data, rows, "labelled")
        train, heldout = split(stage, settings, rows, list(unseen.placed()) if unseen else None, _root)
        train = without_overlap(settings, train, heldout, lambda row: row[1]["text"], "text")
        train = limited(stage, train, settings.rows)
        encoded = inputs.backbone.encode([row["text"] for _, row in train])
        self.texts = [
            LabelledText(JudgedText([], ids), label_value(row["label"], self.labels.values))
            for ids, (_, row) in zip(encoded, train, strict=True)
            if ids
        ]
        self.words = [("", row["text"], "") for _, row in train]
        self.values = [label_value(row["label"], self.labels.values) for _, row in train]
        self.heldout = self._hold_out(limited(stage, heldout, settings.card.comparisons))
        both_or_error(self.texts, self.heldout.items, "labelled texts")
        self.num_rows = len(self.texts)
        stage.figures["texts"] = self.num_rows

    def stream(self, reward_model: RewardModel, seed: int) -> LabelStream:
        """Batches of windows."""
        return LabelStream(
            reward_model,
            self.texts,
            batch_rows=self.settings.batch_rows,
            window=self.labels.window,
            seed=seed,
            micro_batch=self.settings.micro_batch,
        )

    def measure(self, models: Sequence[RewardModel]) -> None:
        """Accuracy on whole texts (mean over consecutive windows) and on single short windows."""
        words, ratings = self.labels.short_words, self.heldout.ratings
        shortened = [Item("", " ".join(item.response.split()[:words])) for item in self.heldout.items]
        for name, items, minimum in (
            ("accuracy_whole", self.heldout.items, self.labels.whole_minimum),
            (f"accuracy_{words}_words", shortened, self.labels.short_minimum),
        ):
            scores = mean_scores(models, items)
            accuracy = sum((s > 0) == (y > 0.5) for s, y in zip(scores, ratings, strict=True)) / len(ratings)
            self.stage.figures[name] = accuracy
            self.stage.gate(
                name, accuracy >= minimum, f"{accuracy:.3f} of {len(ratings)} held-out texts (at least {minimum})"
            )

    def _hold_out(self, rows: list[Placed]) -> HeldOut:
        heldout = HeldOut()
        for _, row in rows:
            if row["text"].strip():
                heldout.add(Item("", row["text"]), _root(("", row)))
                heldout.ratings.append(label_value(row["label"], self.labels.values))
        for a, b in random_pairs(self.stage.seed, heldout.ratings, 2, 0.0):
            heldout.comparisons.append(Compared(a, b, root=heldout.roots[a]))
        return heldout


def _root(placed: Placed) -> str:
    row = placed[1]
    return str(row.get("extra", {}).get("root", row["text"]))
