"""A reward model trained on judgements: the artifact of a `reward` stage, or a one-label classifier folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

import tuningfork.settings
from tuningfork.errors import RecipeError
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
    prefixes: bool = False
    """also score every prefix of a response, so that each token is rewarded with what it added to the score; the sum is the
    same, and long answers to a score at the end are learnt faster. Not with the pooling `mean_response`"""


def load(settings: Settings, sources: RewardSources) -> Reward:
    """The reward model, frozen."""
    from tuningfork.model.reward_model import RewardModel

    model = RewardModel.load(sources.inputs["model"].reference, sources.runtime, sources.backbone)
    if settings.prefixes and model.pooling == "mean_response":
        raise RecipeError(
            f"prefixes: {settings.model} reads the response only, so a prompt alone has no score; leave it out"
        )
    return Learned(model, sources.tokenizer, prefixes=settings.prefixes)


class Learned:
    """Scores of a reward model.

    Where the items' ids come from an equal tokenizer they are scored as they were sampled, else the text is tokenised
    anew, with EOS. A reward model whose template says `special_tokens: false` was trained on bare texts: special tokens
    are left out. An item that is empty, or longer than the model's context, is unscorable.
    """

    def __init__(
        self, model: RewardModel, tokenizer: PreTrainedTokenizerBase | None = None, *, prefixes: bool = False
    ) -> None:
        """`tokenizer` made the ids of the items; None reads their texts. `prefixes`: see the setting of that name."""
        self.model = model
        self.reads_ids = tokenizer is not None and has_equal_tokens(tokenizer, model.backbone.tokenizer)
        self._has_special_tokens = bool(model.template.get("special_tokens", True))
        backbone = model.backbone
        special = {*backbone.start_ids, *backbone.stop_ids, backbone.pad_id}
        self._unread = frozenset() if self._has_special_tokens else frozenset(special)
        if prefixes and not self.reads_ids:
            raise RecipeError("prefixes: the policy and the reward model cut texts differently; leave it out")
        self.gives_prefixes = prefixes

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
            texts = [rows[index] for index in batch]
            if self.gives_prefixes:
                for index, columns in zip(batch, self._prefixes(texts), strict=True):
                    prefixes = self._by_token(items[index], rows[index], columns)
                    scores[index] = Score(prefixes[-1], {"learned": prefixes[-1]}, prefixes)
            else:
                for index, total in zip(batch, self._forward(texts), strict=True):
                    scores[index] = Score(total, {"learned": total})
        return scores

    def _by_token(self, item: Item, row: tuple[list[int], list[int]], columns: Sequence[float]) -> list[float]:
        """Scores after the prompt and after each of the item's response ids, from those after each id of the row.

        Ids that the reward model never sees change nothing. Where nothing at all has been seen, the first score stands.
        """
        assert item.response_ids is not None
        seen = len(row[0]) + np.cumsum([0, *(int(id not in self._unread) for id in item.response_ids)])
        return [columns[max(0, place - 1)] for place in seen.tolist()]

    def _ids(self, item: Item) -> tuple[list[int], list[int]]:
        backbone = self.model.backbone
        if self.reads_ids and item.prompt_ids is not None and item.response_ids is not None:
            prompt, response = item.prompt_ids, item.response_ids
            return [id for id in prompt if id not in self._unread], [id for id in response if id not in self._unread]
        prompt, response = backbone.encode([item.prompt, item.response])
        if self._has_special_tokens:
            return [*backbone.start_ids, *prompt], [*response, backbone.eos_id]
        return prompt, response

    def _forward(self, rows: Sequence[tuple[list[int], list[int]]]) -> list[float]:
        return self._computed(rows, self.model.score)

    def _prefixes(self, rows: Sequence[tuple[list[int], list[int]]]) -> list[list[float]]:
        return self._computed(rows, lambda ids, mask, _: self.model.prefix_scores(ids, mask))

    def _computed(self, rows: Sequence[tuple[list[int], list[int]]], scorer: Callable[..., Any]) -> list[Any]:
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
            return scorer(*(tensor.to(backbone.device) for tensor in (ids, mask, response_mask))).tolist()


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
