"""A reward model trained on judgements: the artifact of a `reward` stage, or a one-label classifier folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import tuningfork.settings
from tuningfork.reward.base import UNSCORABLE, Item, Reward, RewardSources, Score
from tuningfork.settings import Input

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from tuningfork.model.reward_model import RewardModel

BATCH_TOKENS = 16_384


class Settings(tuningfork.settings.Settings):
    """Settings of a learned reward."""

    model: Input
    """folder of a reward model, such as `reward/model`"""


def load(settings: Settings, sources: RewardSources) -> Reward:
    """The reward model, frozen."""
    from tuningfork.model.reward_model import RewardModel

    model = RewardModel.load(sources.inputs["model"].reference, sources.runtime, sources.backbone)
    return Learned(model, sources.tokenizer)


class Learned:
    """Scores of a reward model.

    Where the items' ids come from an equal tokenizer they are scored as they were sampled, else the text is tokenised
    anew, with EOS. A reward model whose template says `special_tokens: false` was trained on bare texts: special tokens
    are left out. An item that is empty, or longer than the model's context, is unscorable.
    """

    def __init__(self, model: RewardModel, tokenizer: PreTrainedTokenizerBase | None = None) -> None:
        """`tokenizer` made the ids of the items; None reads their texts."""
        self.model = model
        self.reads_ids = tokenizer is not None and has_equal_tokens(tokenizer, model.backbone.tokenizer)
        self._has_special_tokens = bool(model.template.get("special_tokens", True))

    def score(self, items: Sequence[Item]) -> list[Score]:
        """One score an item; equal in every batch and order but for rounding."""
        rows = [self._ids(item) for item in items]
        scores = [UNSCORABLE] * len(items)
        longest = self.model.backbone.max_length
        is_pooling_response = self.model.pooling == "mean_response"
        scorable = [
            index
            for index, (prompt, response) in enumerate(rows)
            if 0 < len(prompt) + len(response) <= longest and (response or not is_pooling_response)
        ]
        lengths = [len(prompt) + len(response) for prompt, response in rows]
        for batch in _batches(sorted(scorable, key=lambda index: lengths[index]), lengths):
            for index, total in zip(batch, self._forward([rows[index] for index in batch]), strict=True):
                scores[index] = Score(total, {"learned": total})
        return scores

    def _ids(self, item: Item) -> tuple[list[int], list[int]]:
        backbone = self.model.backbone
        if self.reads_ids and item.prompt_ids is not None and item.response_ids is not None:
            prompt, response = list(item.prompt_ids), list(item.response_ids)
            if self._has_special_tokens:
                return prompt, response
            special = {*backbone.start_ids, *backbone.stop_ids, backbone.pad_id}
            return [i for i in prompt if i not in special], [i for i in response if i not in special]
        prompt, response = backbone.encode([item.prompt, item.response])
        if self._has_special_tokens:
            return [*backbone.start_ids, *prompt], [*response, backbone.eos_id]
        return prompt, response

    def _forward(self, rows: Sequence[tuple[list[int], list[int]]]) -> list[float]:
        import torch

        backbone = self.model.backbone
        length = max(len(prompt) + len(response) for prompt, response in rows)
        ids = torch.full((len(rows), length), backbone.pad_id)  # (B, T)
        mask = torch.zeros(len(rows), length, dtype=torch.bool)
        response_mask = torch.zeros_like(mask)
        for row, (prompt, response) in enumerate(rows):
            end = len(prompt) + len(response)
            ids[row, :end] = torch.tensor(prompt + response)
            mask[row, :end] = True
            response_mask[row, len(prompt) : end] = True
        with torch.no_grad():
            return self.model.score(*(tensor.to(backbone.device) for tensor in (ids, mask, response_mask))).tolist()


def has_equal_tokens(one: PreTrainedTokenizerBase, other: PreTrainedTokenizerBase) -> bool:
    """Whether two tokenizers give the same ids: the content of their tokenizer.json is the same."""
    return one is other or (_fingerprint(one) is not None and _fingerprint(one) == _fingerprint(other))


def _fingerprint(tokenizer: PreTrainedTokenizerBase) -> str | None:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return None
    content = json.loads(backend.to_str())
    # Set by the last call of the tokenizer, without effect on the ids of a text.
    content.pop("padding", None)
    content.pop("truncation", None)
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _batches(order: Sequence[int], lengths: Sequence[int]) -> Iterator[list[int]]:
    """Consecutive indices of `order` (ascending lengths) whose padded batch holds at most BATCH_TOKENS tokens."""
    batch: list[int] = []
    for index in order:
        if batch and (len(batch) + 1) * lengths[index] > BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch
