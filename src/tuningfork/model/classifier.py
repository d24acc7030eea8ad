"""A sequence classifier as a reward: one label, chosen by name, read as a logit."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tuningfork.errors import ModelError
from tuningfork.model.hub import check_folder, load_config, load_tokenizer, load_weights, local_folder
from tuningfork.model.layers import disable_dropout
from tuningfork.runtime import Runtime

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_OFFSET_POSITIONS = ("roberta", "xlm-roberta", "camembert", "xlm-roberta-xl", "mpnet", "longformer")
"""Architectures whose position table begins behind the padding index."""


class Classifier:
    """Log-odds of one label for texts. Any encoder or decoder that transformers loads as a sequence classifier."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        label: str,
        runtime: Runtime,
        batch_size: int = 32,
    ) -> None:
        self.model, self.tokenizer, self.runtime, self.batch_size = model.eval(), tokenizer, runtime, batch_size
        self.label = label
        self.index = label_index(model.config.id2label, label)
        self.max_length = _max_length(model, tokenizer)
        self.num_truncated = 0
        if model.config.pad_token_id is None:
            model.config.pad_token_id = tokenizer.pad_token_id
        if tokenizer.pad_token_id is None:  # a decoder that finds its last token by the pad id: nothing may be padded
            self.batch_size = 1
        disable_dropout(model)
        model.requires_grad_(False).to(runtime.device)  # type: ignore[arg-type]

    @classmethod
    def load(cls, source: str | Path, label: str, runtime: Runtime) -> Classifier:
        """Read a classifier with all its weights; ModelError for a missing head or an unknown label."""
        folder = local_folder(source)
        if folder is not None:
            check_folder(folder)
        label_index(load_config(source).id2label, label)  # before the weights: a wrong name should fail at once
        model = load_weights(source, "AutoModelForSequenceClassification", torch.float32)
        return cls(model, load_tokenizer(source), label, runtime)

    @torch.no_grad()
    def score(self, texts: Sequence[str]) -> Tensor:
        """Log-odds (N,) of the label, fp32 on the CPU. Texts over the trained length are cut and counted."""
        encoded = [self._encode(text) for text in texts]
        scores = torch.empty(len(texts))
        order = sorted(range(len(texts)), key=lambda index: len(encoded[index]))
        for start in range(0, len(order), self.batch_size):
            rows = order[start : start + self.batch_size]
            ids, mask = self._pad_right([encoded[row] for row in rows])
            with self.runtime.autocast():
                logits = self.model(input_ids=ids, attention_mask=mask).logits
            scores[rows] = self._log_odds(logits.float()).cpu()
        return scores

    def _pad_right(self, rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """Ids and mask (B, T). Always on the right: encoders count positions from the left edge."""
        width = max(len(row) for row in rows)
        pad = self.tokenizer.pad_token_id or 0
        ids = torch.tensor([[*row, *[pad] * (width - len(row))] for row in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
        return ids.to(self.model.device), mask.to(self.model.device)

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text, truncation=False, verbose=False, split_special_tokens=True)["input_ids"]
        if len(ids) <= self.max_length:
            return ids
        self.num_truncated += 1
        cut: list[int] = self.tokenizer(
            text, truncation=True, max_length=self.max_length, verbose=False, split_special_tokens=True
        )["input_ids"]
        return cut

    def _log_odds(self, logits: Tensor) -> Tensor:
        """(B, labels) to (B,): log p / (1 - p) of the label, exact where the probability itself would round to 1."""
        chosen = logits[:, self.index]
        if logits.shape[1] == 1 or self.model.config.problem_type == "multi_label_classification":
            return chosen
        others = [index for index in range(logits.shape[1]) if index != self.index]
        return chosen - logits[:, others].logsumexp(1)


def label_index(id2label: Mapping[Any, str] | None, label: str) -> int:
    """Index of `label` (capitals do not matter); ModelError with a suggestion and the list of labels."""
    id2label = id2label or {}
    names = {name.lower(): index for index, name in id2label.items()}
    if label.lower() in names:
        return int(names[label.lower()])
    close = difflib.get_close_matches(label.lower(), names, n=1)
    hint = f"did you mean {id2label[names[close[0]]]}? " if close else ""
    raise ModelError(f"the classifier has no label {label}; {hint}labels: {', '.join(id2label.values())}")


def _max_length(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> int:
    """Longest input in tokens: the tokenizer's limit, and never more than the position table holds."""
    positions = getattr(model.config, "max_position_embeddings", None)
    if positions is None:
        return tokenizer.model_max_length
    if model.config.model_type in _OFFSET_POSITIONS:
        positions -= (model.config.pad_token_id or 0) + 1
    return min(positions, tokenizer.model_max_length)
