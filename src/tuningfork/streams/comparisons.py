"""Compared responses to learn a reward from: a prompt with all its K responses is one element of a batch.

A response is then read once an epoch and not once for each comparison it is in: shuffled pairs of K-wise rankings overfit
within one epoch (Ouyang et al. 2022, 2203.02155, section 3.5).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tuningfork.batch import ComparisonBatch
from tuningfork.data.rows import RowOrder
from tuningfork.methods import pairwise
from tuningfork.methods.listwise import ranking_loss
from tuningfork.model.reward_model import RewardModel
from tuningfork.streams.judgements import JudgedText, collate_texts
from tuningfork.train.loop import LossOutput, StatelessStream


@dataclass(frozen=True)
class Ordered:
    """Of two of an element's texts the better one, the worse one, and by how much: what margin the scores shall keep."""

    better: int
    worse: int
    margin: float = 0.0


@dataclass(frozen=True)
class ComparedTexts:
    """Texts that were compared with each other; `places[i]` is where text i came, 1 best, equal places tied."""

    texts: tuple[JudgedText, ...]
    orders: tuple[Ordered, ...]
    places: tuple[int, ...]


class ComparisonStream(StatelessStream):
    """Batches of elements and the loss of their comparisons; all texts of a batch are scored in one forward."""

    name, weight = "pairs", 1.0

    def __init__(
        self,
        reward_model: RewardModel,
        elements: Sequence[ComparedTexts],
        settings: pairwise.Settings,
        *,
        batch_elements: int,
        seed: int,
        micro_batch: int | None = None,
    ) -> None:
        self.reward_model, self.elements, self.settings, self.micro_batch = (
            reward_model,
            elements,
            settings,
            micro_batch,
        )
        self.order = RowOrder(len(elements), batch_elements, seed, self.name)

    def next_batch(self, step: int) -> ComparisonBatch:
        elements = [self.elements[index] for index in self.order.indices(step)]
        backbone = self.reward_model.backbone
        return collate_elements(elements, backbone.pad_id).to(backbone.device)

    def loss(self, batch: ComparisonBatch) -> LossOutput:
        scores = self._scores(batch)
        if self.settings.form in ("plackett_luce", "pick_best"):
            losses, metrics = ranking_loss(scores, batch.places, batch.present, self.settings)
            weights = batch.weights.sum(1)
        else:
            chosen, rejected = scores.gather(1, batch.better), scores.gather(1, batch.worse)
            losses, metrics = pairwise.pair_loss(chosen, rejected, batch.margins, self.settings)
            weights = batch.weights
        return LossOutput((losses * weights).sum(), metrics, weights > 0)

    def _scores(self, batch: ComparisonBatch) -> Tensor:
        """Scores (B, K), 0 where there is no response; what is not there costs no computing."""
        rows = (batch.ids[batch.present], batch.mask[batch.present], batch.response_mask[batch.present])
        width = int(rows[1].sum(1).max())  # padding is on the right; a micro-batch may be narrower than its batch
        scores = self.reward_model.score(*(row[:, :width] for row in rows))
        return scores.new_zeros(batch.present.shape).masked_scatter(batch.present, scores)


def collate_elements(elements: Sequence[ComparedTexts], pad_id: int) -> ComparisonBatch:
    """Elements as one batch: each weighs the same, and so does each comparison within one."""
    most = max(len(element.texts) for element in elements)
    ids, mask, response_mask = collate_texts([text for element in elements for text in element.texts], pad_id)
    present = torch.zeros(len(elements), most, dtype=torch.bool)
    places = torch.zeros(len(elements), most)
    for row, element in enumerate(elements):
        present[row, : len(element.texts)] = True
        places[row, : len(element.texts)] = torch.tensor(element.places, dtype=torch.float32)
    widest = max(len(element.orders) for element in elements)
    better, worse = (torch.zeros(len(elements), widest, dtype=torch.int64) for _ in range(2))
    margins = torch.zeros(len(elements), widest)
    counted = torch.zeros(len(elements), widest, dtype=torch.bool)
    for row, element in enumerate(elements):
        for column, order in enumerate(element.orders):
            better[row, column], worse[row, column], margins[row, column] = order.better, order.worse, order.margin
            counted[row, column] = True
    weights = torch.zeros(len(elements), widest)
    rows = torch.arange(len(elements))[:, None].expand_as(counted)[counted]
    weights[counted] = pairwise.pair_weights(torch.ones(len(rows)), rows)
    return ComparisonBatch(
        ids=_spread(ids, present, pad_id),
        mask=_spread(mask, present, False),
        response_mask=_spread(response_mask, present, False),
        present=present,
        better=better,
        worse=worse,
        margins=margins,
        weights=weights,
        places=places,
    )


def _spread(rows: Tensor, present: Tensor, fill: int | bool) -> Tensor:
    """(N, T) rows to (B, K, T), in order, `fill` where nothing is present."""
    grid = rows.new_full((*present.shape, rows.shape[1]), fill)
    grid[present] = rows
    return grid
