"""Rated texts to learn a reward from: a number each, or one for each of several criteria."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from tuningfork.batch import RatingBatch
from tuningfork.data.rows import RowOrder
from tuningfork.methods import pairwise, regression
from tuningfork.model.reward_model import RewardModel
from tuningfork.streams.judgements import JudgedText, collate_texts
from tuningfork.train.loop import LossOutput, StatelessStream


@dataclass(frozen=True)
class RatedText:
    """A text and its standardised ratings on C criteria, None where it was not rated on one."""

    text: JudgedText
    ratings: tuple[float | None, ...]


class RatingStream(StatelessStream):
    """Batches of rated texts and the regression loss on what the head gives."""

    name, weight = "ratings", 1.0

    def __init__(
        self,
        reward_model: RewardModel,
        texts: Sequence[RatedText],
        settings: regression.Settings,
        *,
        batch_rows: int,
        seed: int,
        micro_batch: int | None = None,
    ) -> None:
        self.reward_model, self.texts, self.settings, self.micro_batch = reward_model, texts, settings, micro_batch
        self.order = RowOrder(len(texts), batch_rows, seed, self.name)

    def next_batch(self, step: int) -> RatingBatch:
        rows = [self.texts[index] for index in self.order.indices(step)]
        ids, mask, response_mask = collate_texts([row.text for row in rows], self.reward_model.backbone.pad_id)
        return RatingBatch(
            ids=ids,
            mask=mask,
            response_mask=response_mask,
            ratings=torch.tensor([[0.0 if value is None else value for value in row.ratings] for row in rows]),
            given=torch.tensor([[value is not None for value in row.ratings] for row in rows]),
            weights=pairwise.pair_weights(torch.ones(len(rows))),
        ).to(self.reward_model.backbone.device)

    def loss(self, batch: RatingBatch) -> LossOutput:
        raw = self.reward_model.raw_scores(batch.ids, batch.mask, batch.response_mask)
        losses, metrics = regression.rating_loss(raw, batch.ratings, batch.given, self.settings)
        return LossOutput((losses * batch.weights).sum(), metrics, batch.weights > 0)
