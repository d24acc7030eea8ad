"""Judgements to learn a reward from: pairs of which one was preferred, or texts with a label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tuningfork.batch import LabelBatch, PairBatch
from tuningfork.data.judgements import Judgement
from tuningfork.data.rows import RowOrder
from tuningfork.methods import pairwise
from tuningfork.model.backbone import Backbone
from tuningfork.model.reward_model import RewardModel
from tuningfork.randomness import numpy_generator
from tuningfork.train.loop import LossOutput, StatelessStream


@dataclass(frozen=True)
class JudgedText:
    """Token ids of a prompt and of a response; the response keeps its EOS where it had one."""

    prompt: list[int]
    response: list[int]


@dataclass(frozen=True)
class JudgedPair:
    """Two responses of which the first was preferred; `margin` is how much better it was rated, 0 when unknown."""

    chosen: JudgedText
    rejected: JudgedText
    margin: float = 0.0


def judged_texts(backbone: Backbone, judgement: Judgement) -> list[JudgedText]:
    """The candidates as ids: those that were sampled where they are known, else tokenised, with EOS where they ended."""
    prompt = judgement.prompt_ids or [*backbone.start_ids, *backbone.encode([judgement.prompt])[0]]
    texts = []
    for candidate in judgement.candidates:
        ids = candidate.ids or backbone.encode([candidate.text])[0] + [backbone.eos_id] * candidate.has_ended
        texts.append(JudgedText(prompt, ids))
    return texts


def collate_texts(texts: Sequence[JudgedText], pad_id: int) -> tuple[Tensor, Tensor, Tensor]:
    """ids, mask and response mask (B, T) of texts, right-padded; the response mask is True on response tokens."""
    length = max(len(text.prompt) + len(text.response) for text in texts)
    ids = torch.full((len(texts), length), pad_id, dtype=torch.long)
    mask = torch.zeros(len(texts), length, dtype=torch.bool)
    response_mask = torch.zeros_like(mask)
    for row, text in enumerate(texts):
        joined = text.prompt + text.response
        ids[row, : len(joined)] = torch.tensor(joined)
        mask[row, : len(joined)] = True
        response_mask[row, len(text.prompt) : len(joined)] = True
    return ids, mask, response_mask


class PairStream(StatelessStream):
    """Batches of pairs and the Bradley-Terry loss; chosen and rejected are scored in one forward."""

    name, weight = "pairs", 1.0

    def __init__(
        self,
        reward_model: RewardModel,
        pairs: Sequence[JudgedPair],
        settings: pairwise.Settings,
        *,
        batch_pairs: int,
        seed: int,
        micro_batch: int | None = None,
    ) -> None:
        self.reward_model, self.pairs, self.settings, self.micro_batch = reward_model, pairs, settings, micro_batch
        self.order = RowOrder(len(pairs), batch_pairs, seed, self.name)

    def next_batch(self, step: int) -> PairBatch:
        pairs = [self.pairs[index] for index in self.order.indices(step)]
        texts = [text for pair in pairs for text in (pair.chosen, pair.rejected)]
        ids, mask, response_mask = collate_texts(texts, self.reward_model.backbone.pad_id)
        return PairBatch(
            ids=ids.unflatten(0, (-1, 2)),
            mask=mask.unflatten(0, (-1, 2)),
            response_mask=response_mask.unflatten(0, (-1, 2)),
            margins=torch.tensor([pair.margin for pair in pairs]),
            weights=pairwise.pair_weights(torch.ones(len(pairs))),
        ).to(self.reward_model.backbone.device)

    def loss(self, batch: PairBatch) -> LossOutput:
        scores = self.reward_model.score(*(t.flatten(0, 1) for t in (batch.ids, batch.mask, batch.response_mask)))
        chosen, rejected = scores.unflatten(0, (-1, 2)).unbind(1)
        losses, metrics = pairwise.pair_loss(chosen, rejected, batch.margins, self.settings)
        return LossOutput((losses * batch.weights).sum(), metrics, batch.weights > 0)


@dataclass(frozen=True)
class LabelledText:
    """Token ids of a text and its label in [0, 1]."""

    ids: list[int]
    label: float


class LabelStream(StatelessStream):
    """Batches of labelled texts and the logistic loss.

    Each draw sees a random window of `window` = (least, most) tokens of its text, its length uniform between the two, so
    that the scorer also knows short texts; the window is a function of (seed, step, place in the batch).
    """

    name, weight = "labels", 1.0

    def __init__(
        self,
        reward_model: RewardModel,
        texts: Sequence[LabelledText],
        *,
        batch_rows: int,
        window: tuple[int, int],
        seed: int,
        micro_batch: int | None = None,
    ) -> None:
        self.reward_model, self.texts, self.micro_batch = reward_model, texts, micro_batch
        self.window, self.seed = window, seed
        self.order = RowOrder(len(texts), batch_rows, seed, self.name)

    def next_batch(self, step: int) -> LabelBatch:
        texts = [self.texts[index] for index in self.order.indices(step)]
        draws = numpy_generator(self.seed, "window", step).random((len(texts), 2))
        windows = [self._cut(text.ids, *draw) for text, draw in zip(texts, draws, strict=True)]
        ids, mask, response_mask = collate_texts(
            [JudgedText([], window) for window in windows], self.reward_model.backbone.pad_id
        )
        return LabelBatch(
            ids=ids,
            mask=mask,
            response_mask=response_mask,
            labels=torch.tensor([text.label for text in texts]),
            weights=pairwise.pair_weights(torch.ones(len(texts))),
        ).to(self.reward_model.backbone.device)

    def loss(self, batch: LabelBatch) -> LossOutput:
        scores = self.reward_model.score(batch.ids, batch.mask, batch.response_mask)
        losses, metrics = pairwise.label_loss(scores, batch.labels)
        return LossOutput((losses * batch.weights).sum(), metrics, batch.weights > 0)

    def _cut(self, ids: list[int], length_draw: float, start_draw: float) -> list[int]:
        least, most = self.window
        length = min(len(ids), least + int(length_draw * (most - least + 1)))
        start = int(start_draw * (len(ids) - length + 1))
        return ids[start : start + length]
