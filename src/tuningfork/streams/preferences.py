"""Preferences to learn from without sampling: pairs, or single responses that were found good or bad.

The reference is the model as it was when the stage began, so its log-probabilities are computed once, before the first
step, and kept by a hash of everything they depend on.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tuningfork.batch import Batch, PairLogprobs, TextLogprobs
from tuningfork.data.rows import RowOrder
from tuningfork.errors import DataError, RunError
from tuningfork.methods.preference import PreferenceMethod
from tuningfork.model.backbone import Backbone
from tuningfork.randomness import numpy_generator
from tuningfork.runtime import Runtime
from tuningfork.streams.judgements import JudgedText, collate_texts
from tuningfork.tensors import at_targets, predictors, token_logprobs
from tuningfork.train.loop import LossOutput, StatelessStream

IDENTITY_TOLERANCE = {"fp32": 1e-4, "bf16": 5e-2, "fp16": 5e-2}
"""Largest difference, in nats a token, between log-probabilities of one text in two forwards that should agree."""

LOSS_TOLERANCE = 100.0
"""A loss at the start may be off by this many times what a token's log-probability may: a response has many tokens."""


@dataclass(frozen=True)
class Example:
    """Responses to one prompt: (chosen, rejected), or one response and whether it `is_desirable`."""

    texts: tuple[JudgedText, ...]
    root: str
    is_desirable: bool = True
    probability: float = 1.0
    """that the first response is the better one: a soft label"""


@dataclass(frozen=True)
class Examples:
    """What is trained on. All or nothing: where the method needs a reference, every text has its log-probability.

    reference (N, K): of the K texts of each example. strangers: each prompt with the response to another one, from which
    KTO estimates its KL; stranger_reference (N,): their log-probabilities.
    """

    rows: Sequence[Example]
    reference: Tensor | None = None
    strangers: Sequence[JudgedText] | None = None
    stranger_reference: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class PreferenceRows(Batch):
    """Some examples as tensors: ids, mask, response_mask (B, K, T), K texts of each (2, or 1 for single responses).

    ref_logprobs (B, K) or None; is_desirable and probability (B,); weights (B,), summing to 1 over the optimizer step; kl: what KTO
    measures from, estimated over the whole step; is_first: whether nothing was updated yet.
    """

    ids: Tensor
    mask: Tensor
    response_mask: Tensor
    is_desirable: Tensor
    probability: Tensor
    weights: Tensor
    ref_logprobs: Tensor | None = None
    kl: float = 0.0
    is_first: bool = False


def summed_logprobs(backbone: Backbone, ids: Tensor, mask: Tensor, response_mask: Tensor) -> Tensor:
    """Log-probabilities (N,) of the responses of N texts (N, T), summed over their tokens, in fp32."""
    logits = backbone.lm_head(predictors(backbone.hidden(ids, mask), response_mask))
    with torch.autocast(logits.device.type, enabled=False):
        of_tokens = token_logprobs(logits[None], ids[response_mask][None])[0]
    return at_targets(of_tokens, response_mask).sum(-1)


@torch.no_grad()
def text_logprobs(backbone: Backbone, texts: Sequence[JudgedText], runtime: Runtime, batch_rows: int = 128) -> Tensor:
    """Summed log-probabilities (N,) of responses under the policy as it is, on the CPU, in the order given."""
    order = sorted(range(len(texts)), key=lambda index: len(texts[index].prompt) + len(texts[index].response))
    found = torch.zeros(len(texts))
    for start in range(0, len(order), batch_rows):
        part = order[start : start + batch_rows]
        columns = collate_texts([texts[index] for index in part], backbone.pad_id)
        with runtime.autocast():
            found[part] = summed_logprobs(backbone, *(column.to(backbone.device) for column in columns)).to(found)
    return found


def kept_logprobs(
    folder: Path, model_key: str, backbone: Backbone, texts: Sequence[JudgedText], runtime: Runtime
) -> Tensor:
    """`text_logprobs`, kept in `folder` under a hash of the model's key, the precision and every token."""
    identity = [model_key, runtime.device, runtime.precision, [[text.prompt, text.response] for text in texts]]
    name = hashlib.blake2b(json.dumps(identity).encode(), digest_size=16).hexdigest()
    path = folder / f"logprobs-{name}.safetensors"
    if not path.is_file():
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        save_file({"logprobs": text_logprobs(backbone, texts, runtime)}, temporary)
        os.replace(temporary, path)
    return load_file(path)["logprobs"]


def pair_strangers(rows: Sequence[Example], seed: int, max_length: int) -> list[JudgedText]:
    """Each example's prompt with the response to another prompt, drawn once; DataError where there is none that fits."""
    order = numpy_generator(seed, "strangers").permutation(len(rows)).tolist()
    place = {index: position for position, index in enumerate(order)}
    strangers = []
    for index, row in enumerate(rows):
        prompt = row.texts[0].prompt
        following = (rows[order[(place[index] + step) % len(rows)]].texts[0] for step in range(1, len(rows)))
        fitting = (
            other.response
            for other in following
            if other.prompt != prompt
            and other.response != row.texts[0].response
            and len(prompt) + len(other.response) <= max_length
        )
        response = next(fitting, None)
        if response is None:
            raise DataError(
                "KTO measures from responses to other prompts, and a prompt has none that differs and fits beside it: "
                "give feedback on several prompts, or shorter ones"
            )
        strangers.append(JudgedText(prompt, response))
    return strangers


class PreferenceStream(StatelessStream):
    """Batches of examples and a preference method's loss; the texts of an example are seen in one forward."""

    name, weight = "preferences", 1.0

    def __init__(
        self,
        backbone: Backbone,
        method: PreferenceMethod,
        settings: Any,
        examples: Examples,
        *,
        batch_rows: int,
        seed: int,
        runtime: Runtime,
        micro_batch: int | None = None,
    ) -> None:
        self.backbone, self.method, self.settings, self.examples = backbone, method, settings, examples
        self.needs = method.needs(settings)
        self.runtime, self.micro_batch = runtime, micro_batch
        self.order = RowOrder(len(examples.rows), batch_rows, seed, self.name)

    def next_batch(self, step: int) -> PreferenceRows:
        indices = self.order.indices(step)
        rows = [self.examples.rows[index] for index in indices]
        num_texts = len(rows[0].texts)
        columns = collate_texts([text for row in rows for text in row.texts], self.backbone.pad_id)
        ids, mask, response_mask = (column.unflatten(0, (-1, num_texts)) for column in columns)
        reference = self.examples.reference
        return PreferenceRows(
            ids=ids,
            mask=mask,
            response_mask=response_mask,
            is_desirable=torch.tensor([row.is_desirable for row in rows]),
            probability=torch.tensor([row.probability for row in rows]),
            weights=torch.full((len(rows),), 1.0 / len(rows)),
            ref_logprobs=None if reference is None else reference[indices],
            kl=self._estimate_kl(indices) if self.needs.unpaired else 0.0,
            is_first=step == 0,
        ).to(self.backbone.device)

    def loss(self, batch: PreferenceRows) -> LossOutput:
        texts = (column.flatten(0, 1) for column in (batch.ids, batch.mask, batch.response_mask))
        logprobs = summed_logprobs(self.backbone, *texts).unflatten(0, (len(batch), -1))  # (B, K)
        lengths = batch.response_mask.sum(-1)
        known = self._of_texts(batch, logprobs) if self.needs.unpaired else self._of_pairs(batch, logprobs, lengths)
        losses, metrics = self.method.loss(known, self.settings)
        if isinstance(known, PairLogprobs) and bool((batch.probability < 1).any()):
            other, _ = self.method.loss(known.exchanged(), self.settings)
            losses = batch.probability * losses + (1 - batch.probability) * other
        start_loss = getattr(self.method, "start_loss", None)
        if batch.is_first and start_loss is not None:
            metrics["start_loss_gap_max"] = (metrics["preference_loss"] - start_loss(known, self.settings)).abs()
        metrics |= self._describe(batch, logprobs.detach(), lengths)
        return LossOutput((losses * batch.weights).sum(), metrics, batch.weights > 0)

    def observe(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """Assert that before any update the policy is the reference: DPO's loss is log 2, KTO's half its weight."""
        limit = IDENTITY_TOLERANCE[self.runtime.precision]
        if metrics.get("start_gap_max", 0.0) > limit:
            raise RunError(
                f"before any update the policy's log-probs differ by {metrics['start_gap_max']:.2g} nats a token from the "
                f"reference's (limit {limit:.0e}): usual causes are an adapter that does not start at zero, dropout, or a "
                "model that is not deterministic; set precision: fp32 to tell numerical noise from a fault"
            )
        if metrics.get("start_loss_gap_max", 0.0) > LOSS_TOLERANCE * limit:
            raise RunError(
                f"before any update a loss differs by {metrics['start_loss_gap_max']:.2g} from what it is where the policy is "
                "the reference (log 2 for DPO, half the weight for KTO): the method's loss and its start_loss do not agree"
            )
        return {}

    def _of_pairs(self, batch: PreferenceRows, logprobs: Tensor, lengths: Tensor) -> PairLogprobs:
        reference = batch.ref_logprobs
        return PairLogprobs(
            chosen=logprobs[:, 0],
            rejected=logprobs[:, 1],
            chosen_lengths=lengths[:, 0],
            rejected_lengths=lengths[:, 1],
            ref_chosen=None if reference is None else reference[:, 0],
            ref_rejected=None if reference is None else reference[:, 1],
        )

    def _of_texts(self, batch: PreferenceRows, logprobs: Tensor) -> TextLogprobs:
        assert batch.ref_logprobs is not None
        return TextLogprobs(
            logprobs=logprobs[:, 0],
            ref_logprobs=batch.ref_logprobs[:, 0],
            is_desirable=batch.is_desirable,
            kl=batch.kl,
        )

    def _describe(self, batch: PreferenceRows, logprobs: Tensor, lengths: Tensor) -> dict[str, Tensor]:
        """Metrics (B,) beside the method's own."""
        metrics: dict[str, Tensor] = {}
        if self.needs.unpaired:
            metrics["reference_kl"] = torch.full_like(batch.weights, batch.kl)
        else:
            metrics["chosen_logprob"], metrics["rejected_logprob"] = logprobs.unbind(1)
            metrics["length_gap"] = (lengths[:, 0] - lengths[:, 1]).float()
        if batch.ref_logprobs is not None:
            shifts = logprobs - batch.ref_logprobs
            if not self.needs.unpaired:
                metrics["chosen_shift"], metrics["rejected_shift"] = shifts.unbind(1)
            if batch.is_first:
                metrics["start_gap_max"] = (shifts.abs() / lengths).amax(-1)
        return metrics

    @torch.no_grad()
    def _estimate_kl(self, indices: Sequence[int]) -> float:
        """Mean log-ratio of the policy to the reference on the strangers of the step's examples; KTO's z, unclamped."""
        assert self.examples.strangers is not None and self.examples.stranger_reference is not None
        texts = [self.examples.strangers[index] for index in indices]
        now = text_logprobs(self.backbone, texts, self.runtime, self.micro_batch or len(texts))
        return float((now - self.examples.stranger_reference[list(indices)]).double().mean())
