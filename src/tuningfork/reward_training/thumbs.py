"""Feedback on single answers: good or bad, thumbs up or down."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tuningfork.data.adapters import Placed, prompt_text
from tuningfork.data.reward_inputs import PlainAnswer, RewardInputs
from tuningfork.data.stage_audit import audit_stage
from tuningfork.errors import DataError
from tuningfork.evals.feedback import Compared
from tuningfork.reward_training.task import (
    Fitting,
    HeldOut,
    both_or_error,
    heldout_data,
    item_of,
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


class ThumbTask:
    """Logistic loss on whole answers; the share of good ones is the loss's offset, so 0 is what the data says of any."""

    def __init__(self, stage: StageContext, settings: Any, inputs: RewardInputs, data: Dataset) -> None:
        self.stage, self.settings = stage, settings
        unseen = heldout_data(stage, settings, ("unpaired",))
        rows = list(data.placed())
        audit_stage(stage, data, rows, "unpaired")
        train, heldout = split(stage, settings, rows, list(unseen.placed()) if unseen else None, _root)
        train = without_overlap(settings, train, heldout, lambda row: prompt_text(row[1]["prompt"]), "prompt")
        train = limited(stage, train, settings.rows)
        fitting = Fitting(inputs, settings.reads_response)
        self.texts = [LabelledText(text, float(row["label"])) for row, text in _fitted(train, fitting)]
        self.words = [(prompt_text(row["prompt"]), row["completion"], "") for _, row in train]
        self.values = [float(row["label"]) for _, row in train]
        self.heldout = self._hold_out(limited(stage, heldout, settings.card.comparisons), fitting)
        fitting.report(stage)
        both_or_error(self.texts, self.heldout.comparisons, "answers of both kinds")
        good = sum(text.label for text in self.texts)
        if not 0 < good < len(self.texts):
            raise DataError(f"{data.source}: all {len(self.texts):,} answers to train on have the same label")
        self.offset = math.log(good / (len(self.texts) - good))
        self.num_rows = len(self.texts)
        stage.figures.update(texts=self.num_rows, good_share=good / self.num_rows)

    def stream(self, reward_model: RewardModel, seed: int) -> LabelStream:
        """Batches of answers."""
        return LabelStream(
            reward_model,
            self.texts,
            batch_rows=self.settings.batch_rows,
            window=None,
            seed=seed,
            micro_batch=self.settings.micro_batch,
            offset=self.offset,
        )

    def measure(self, models: Sequence[RewardModel]) -> None:
        """Nothing beside the card."""

    def _hold_out(self, rows: list[Placed], fitting: Fitting) -> HeldOut:
        """Held-out answers, each good one against bad ones drawn at random: of the same prompt or of another."""
        heldout = HeldOut()
        for row, text in _fitted(rows, fitting):
            heldout.add(item_of(text, prompt_text(row["prompt"]), row["completion"]), _root(("", row)))
            heldout.ratings.append(float(row["label"]))
        pairs = random_pairs(self.stage.seed, heldout.ratings, 2, 0.0)
        heldout.comparisons = [Compared(a, b, root=heldout.roots[a]) for a, b in pairs]
        return heldout


def _root(placed: Placed) -> str:
    row = placed[1]
    return str(row.get("extra", {}).get("root", prompt_text(row["prompt"])))


def _fitted(rows: list[Placed], fitting: Fitting) -> list[tuple[dict[str, Any], JudgedText]]:
    answers = [
        PlainAnswer(
            prompt_text(row["prompt"]), row["completion"], row["prompt"] if isinstance(row["prompt"], list) else None
        )
        for _, row in rows
    ]
    texts = fitting.encode(answers)
    return [(row, text) for (_, row), text in zip(rows, texts, strict=True) if text is not None]
