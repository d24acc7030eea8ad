"""Text to predict: pretraining, supervised fine-tuning, and the replay that keeps what a model knew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from tuningfork.batch import TokenBatch
from tuningfork.data.jsonl import read_jsonl
from tuningfork.data.packing import document_rows, pack_rows, padding_share
from tuningfork.data.rows import LengthGroupedOrder, RowOrder, TokenRow, pack_text
from tuningfork.methods.average import average_weights
from tuningfork.methods.supervised import token_loss
from tuningfork.model.backbone import Backbone
from tuningfork.model.packing import check_documents
from tuningfork.tensors import predictors
from tuningfork.train.loop import LossOutput, StatelessStream
from tuningfork.train.settings import Batching, Packing, ReplaySettings


def collate(rows: Sequence[TokenRow], pad_id: int) -> TokenBatch:
    """Right-padded batch of rows; the weight of a target token is 1, divided by nothing yet."""
    length = max(len(row.ids) for row in rows)
    ids = torch.full((len(rows), length), pad_id, dtype=torch.long)
    mask = torch.zeros(len(rows), length, dtype=torch.bool)
    targets = torch.zeros(len(rows), length)
    for index, row in enumerate(rows):
        end = len(row.ids)
        ids[index, :end] = torch.tensor(row.ids)
        mask[index, :end] = True
        targets[index, :end] = torch.tensor(row.is_target, dtype=torch.float)
    return TokenBatch(ids=ids, mask=mask, loss_weights=targets, documents=_documents(rows, length))


def _documents(rows: Sequence[TokenRow], length: int) -> Tensor | None:
    """Number of the document that each column belongs to, (B, T); padding is a document of its own."""
    if all(row.starts == (0,) for row in rows):
        return None
    is_start = torch.zeros(len(rows), length, dtype=torch.long)
    for index, row in enumerate(rows):
        is_start[index, list(row.starts)] = 1
        if len(row.ids) < length:
            is_start[index, len(row.ids)] = 1
    return is_start.cumsum(1) - 1


class TextStream(StatelessStream):
    """Batches of token rows and their next-token loss, averaged over all target tokens of the optimizer step."""

    def __init__(
        self,
        backbone: Backbone,
        rows: Sequence[TokenRow],
        *,
        name: str,
        batch_rows: int,
        seed: int,
        weight: float = 1.0,
        micro_batch: int | None = None,
        batching: Batching = "random",
    ) -> None:
        self.name, self.weight, self.micro_batch = name, weight, micro_batch
        self.backbone, self.rows = backbone, rows
        self.order = RowOrder(len(rows), batch_rows, seed, name)
        if batching == "length_grouped":
            self.order = LengthGroupedOrder(len(rows), batch_rows, seed, name, [len(row.ids) for row in rows])
        if any(len(row.starts) > 1 for row in rows):
            check_documents(backbone, max(len(row.ids) for row in rows))

    def next_batch(self, step: int) -> TokenBatch:
        return training_batch(self.backbone, [self.rows[index] for index in self.order.indices(step)])

    def padding_share(self, num_steps: int) -> float:
        """Share of padding among all positions of the first `num_steps` batches."""
        return padding_share([len(row.ids) for row in self.rows], self.order.indices, num_steps)

    def loss(self, batch: TokenBatch) -> LossOutput:
        return text_loss(self.backbone, batch)


def training_batch(backbone: Backbone, rows: Sequence[TokenRow]) -> TokenBatch:
    """The rows of an optimizer step, each target token with an equal share of the loss."""
    batch = collate(rows, backbone.pad_id)
    weights = average_weights(batch.loss_weights, "token_mean")
    return replace(batch, loss_weights=weights).to(backbone.device)


def text_rows(backbone: Backbone, texts: Sequence[str], length: int, packing: Packing) -> list[TokenRow]:
    """Training rows of at most `length` tokens."""
    if packing == "concatenate":
        return pack_text(backbone.encode, texts, length, backbone.start_ids, backbone.eos_id)
    rows = document_rows(backbone.encode, texts, length, backbone.start_ids, backbone.eos_id)
    return pack_rows(rows, length) if packing == "best_fit" else rows


def replay_stream(backbone: Backbone, settings: ReplaySettings, source: str, seed: int) -> TextStream:
    """The stream of earlier text that keeps what the model knew."""
    texts = [row["text"] for row in read_jsonl(source, required=("text",))]
    rows = text_rows(backbone, texts, settings.length, settings.packing)
    return TextStream(
        backbone,
        rows,
        name="replay",
        batch_rows=settings.rows,
        seed=seed,
        weight=settings.weight,
        micro_batch=settings.rows,
    )


def text_loss(backbone: Backbone, batch: TokenBatch) -> LossOutput:
    """Weighted next-token loss of a batch; logits are computed only where there is a target."""
    logits, targets, weights = target_logits(backbone, batch)
    losses, metrics = token_loss(logits, targets)
    return LossOutput((losses * weights).sum(), metrics, weights > 0)


def target_logits(backbone: Backbone, batch: TokenBatch) -> tuple[Tensor, Tensor, Tensor]:
    """Logits (N, V) that predict the N tokens of non-zero weight, those tokens (N,), and their weights (N,)."""
    is_target = batch.loss_weights > 0
    logits = backbone.lm_head(predictors(backbone.hidden(batch.ids, batch.mask, documents=batch.documents), is_target))
    return logits, batch.ids[is_target], batch.loss_weights[is_target]


@torch.no_grad()
def text_nll(backbone: Backbone, rows: Sequence[TokenRow], batch_rows: int = 64) -> tuple[float, int]:
    """Sum of the negative log-likelihoods of all target tokens, and how many there are."""
    losses = target_losses(backbone, rows, batch_rows).losses
    return float(losses.sum()), len(losses)


@dataclass(frozen=True)
class TargetLosses:
    """Negative log-likelihood (N,), float64, of every target token, whether it was the likeliest (N,), and its row (N,)."""

    losses: Tensor
    is_right: Tensor
    rows: Tensor

    def figures(self) -> dict[str, float]:
        """`loss`, the mean over all target tokens, and `token_accuracy`."""
        return {"loss": float(self.losses.mean()), "token_accuracy": float(self.is_right.mean())}


@torch.no_grad()
def target_losses(backbone: Backbone, rows: Sequence[TokenRow], batch_rows: int = 64) -> TargetLosses:
    """The loss of every target token, on the CPU."""
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    for start in range(0, len(rows), batch_rows):
        batch = collate(rows[start : start + batch_rows], backbone.pad_id).to(backbone.device)
        logits, targets, _ = target_logits(backbone, batch)
        losses, metrics = token_loss(logits, targets)
        where = (batch.loss_weights > 0).nonzero()[:, 0] + start
        found.append((losses.double().cpu(), metrics["token_accuracy"].double().cpu(), where.cpu()))
    return TargetLosses(*(torch.cat(parts) for parts in zip(*found, strict=True)))


@torch.no_grad()
def completion_logprobs(backbone: Backbone, pairs: Sequence[tuple[str, str]], batch_rows: int = 256) -> Tensor:
    """Log-probability (N,) of each completion after its prefix, summed over its tokens; no EOS."""
    prefixes, completions = (backbone.encode(list(texts)) for texts in zip(*pairs, strict=True))
    totals = []
    for start in range(0, len(pairs), batch_rows):
        rows = [
            TokenRow(
                [*backbone.start_ids, *prefix, *completion],
                [False] * (len(backbone.start_ids) + len(prefix)) + [True] * len(completion),
            )
            for prefix, completion in zip(prefixes[start:][:batch_rows], completions[start:][:batch_rows], strict=True)
        ]
        batch = collate(rows, backbone.pad_id).to(backbone.device)
        logits, targets, _ = target_logits(backbone, batch)
        row_of_target = (batch.loss_weights > 0).nonzero()[:, 0]
        totals.append(logits.new_zeros(len(rows)).index_add(0, row_of_target, -token_loss(logits, targets)[0]))
    return torch.cat(totals)
