"""Labelled texts to learn a reward from: whole answers that were found good or bad, or windows of longer texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from tuningfork.batch import LabelBatch
from tuningfork.data.rows import RowOrder
from tuningfork.methods import pairwise
from tuningfork.model.reward_model import RewardModel
from tuningfork.randomness import numpy_generator
from tuningfork.streams.judgements import JudgedText, collate_texts
from tuningfork.train.loop import LossOutput, StatelessStream


@dataclass(frozen=True)
class LabelledText:
    """A text and its label in [0, 1]."""

    text: JudgedText
    label: float


class LabelStream(StatelessStream):
    """Batches of labelled texts and the logistic loss.

    With `window` = (least, most) each draw sees a random window of that many tokens of its response, its length uniform
    between the two, so that the scorer also knows short texts; the window is a function of (seed, step, place in the batch).
    """

    name, weight = "labels", 1.0

    def __init__(
        self,
        reward_model: RewardModel,
        texts: Sequence[LabelledText],
        *,
        batch_rows: int,
        window: tuple[int, int] | None,
        seed: int,
        micro_batch: int | None = None,
        offset: float = 0.0,
    ) -> None:
        self.reward_model, self.texts, self.micro_batch = reward_model, texts, micro_batch
        self.window, self.seed, self.offset = window, seed, offset
        self.order = RowOrder(len(texts), batch_rows, seed, self.name)

    def next_batch(self, step: int) -> LabelBatch:
        rows = [self.texts[index] for index in self.order.indices(step)]
        texts = [row.text for row in rows]
        if self.window is not None:
            draws = numpy_generator(self.seed, "window", step).random((len(rows), 2))
            texts = [cut_window(text, self.window, *draw) for text, draw in zip(texts, draws, strict=True)]
        ids, mask, response_mask = collate_texts(texts, self.reward_model.backbone.pad_id)
        return LabelBatch(
            ids=ids,
            mask=mask,
            response_mask=response_mask,
            labels=torch.tensor([row.label for row in rows]),
            weights=pairwise.pair_weights(torch.ones(len(rows))),
        ).to(self.reward_model.backbone.device)

    def loss(self, batch: LabelBatch) -> LossOutput:
        scores = self.reward_model.score(batch.ids, batch.mask, batch.response_mask)
        losses, metrics = pairwise.label_loss(scores, batch.labels, self.offset)
        return LossOutput((losses * batch.weights).sum(), metrics, batch.weights > 0)


def cut_window(text: JudgedText, window: tuple[int, int], length_draw: float, start_draw: float) -> JudgedText:
    """Consecutive tokens of the response, their number and start chosen by two draws in [0, 1)."""
    least, most = window
    length = min(len(text.response), least + int(length_draw * (most - least + 1)))
    start = int(start_draw * (len(text.response) - length + 1))
    return JudgedText(text.prompt, text.response[start : start + length])
