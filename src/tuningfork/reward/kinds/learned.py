"""A reward model trained on judgements: the artifact of a `reward` stage, or a one-label classifier folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

import tuningfork.settings
from tuningfork.data.reward_inputs import PlainAnswer, RewardInputs, TokenizedAnswer, form_of
from tuningfork.errors import RecipeError
from tuningfork.reward.base import UNSCORABLE, Item, Reward, RewardSources, Score
from tuningfork.settings import Input

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

    from tuningfork.model.reward_model import RewardModel
    from tuningfork.runtime import Runtime

BATCH_TOKENS = 16_384


class Settings(tuningfork.settings.Settings):
    """Settings of a learned reward."""

    model: Input
    """folder of a reward model, such as `reward/model`; of several that were trained together, the mean of their scores"""
    prefixes: bool = False
    """also score every prefix of a response, so that each token is rewarded with what it added to the score; the sum is the
    same, and long answers to a score at the end are learnt faster. Not with poolings over the response"""
    disagreement: float = Field(default=0.0, ge=0)
    """how much of the members' standard deviation is taken from the mean of an ensemble: what they disagree on is worth less.
    Only with an ensemble"""
    accept_failed_card: bool = False
    """use a reward model although its card says that nothing should be optimised on it"""


def load(settings: Settings, sources: RewardSources) -> Reward:
    """The reward model, or the ensemble of them, frozen."""
    from tuningfork.reward.ensemble import Ensemble, member_folders

    found = sources.inputs["model"].reference
    members = member_folders(found)
    if members:
        rewards = [_load_one(settings, str(folder), sources) for folder in members]
        return Ensemble(rewards, settings.disagreement)
    if settings.disagreement:
        raise RecipeError(f"disagreement: {settings.model} is one reward model and agrees with itself; remove it")
    return _load_one(settings, found, sources)


def open_folder(source: str | Path, runtime: Runtime, tokenizer: PreTrainedTokenizerBase | None = None) -> Reward:
    """The reward model or ensemble in a folder whatever its card says, to measure or to show it."""
    from tuningfork.model.reward_model import RewardModel
    from tuningfork.reward.ensemble import Ensemble, member_folders

    folders = member_folders(source) or [source]
    rewards = [Learned(RewardModel.load(folder, runtime), tokenizer) for folder in folders]
    return rewards[0] if len(rewards) == 1 else Ensemble(rewards)


def _load_one(settings: Settings, folder: str, sources: RewardSources) -> Learned:
    from tuningfork.model.reward_model import RewardModel

    model = RewardModel.load(folder, sources.runtime, sources.backbone)
    if not (settings.accept_failed_card or model.fitness.get("usable", True)):
        raise RecipeError(
            f"the card of {settings.model} says not to optimise on it: {model.fitness.get('reason')}. Give it more or better "
            "feedback, or say accept_failed_card: true"
        )
    if settings.prefixes and model.reads_response:
        raise RecipeError(
            f"prefixes: {settings.model} reads the response only, so a prompt alone has no score; leave it out"
        )
    return Learned(model, sources.tokenizer, prefixes=settings.prefixes)


class Learned:
    """Scores of a reward model.

    Where the items' ids come from an equal tokenizer they are scored as they were sampled, else the text is put together as
    in training (`data.reward_inputs`). A model trained on bare texts sees no special tokens, and of texts longer than its
    windows the mean over consecutive ones. A prompt that leaves no room loses its beginning; an item that is empty, or whose
    response is longer than the model's context, is unscorable.
    """

    def __init__(
        self, model: RewardModel, tokenizer: PreTrainedTokenizerBase | None = None, *, prefixes: bool = False
    ) -> None:
        """`tokenizer` made the ids of the items; None reads their texts. `prefixes`: see the setting of that name."""
        self.model = model
        self.reads_ids = tokenizer is not None and has_equal_tokens(tokenizer, model.backbone.tokenizer)
        backbone = model.backbone
        self.inputs = RewardInputs(backbone, form_of(model.template))
        special = {*backbone.start_ids, *backbone.stop_ids, backbone.pad_id}
        self._unread = frozenset(special) if self.inputs.form == "bare" else frozenset[int]()
        self._window: int | None = None if prefixes else model.template.get("window")
        if prefixes and not self.reads_ids:
            raise RecipeError("prefixes: the policy and the reward model cut texts differently; leave it out")
        self.gives_prefixes = prefixes

    def score(self, items: Sequence[Item]) -> list[Score]:
        """One score an item; equal in every batch and order but for rounding."""
        rows = self._rows(items)
        scores = [UNSCORABLE] * len(items)
        pieces = [(index, piece) for index, row in enumerate(rows) if row is not None for piece in self._pieces(row)]
        lengths = [len(piece.prompt) + len(piece.response) for _, piece in pieces]
        found: dict[int, list[tuple[int, Score]]] = {}
        for batch in _batches(sorted(range(len(pieces)), key=lambda number: lengths[number]), lengths):
            owners = [pieces[number][0] for number in batch]
            texts = [pieces[number][1] for number in batch]
            if self.gives_prefixes:
                for index, text, columns in zip(owners, texts, self._prefixes(texts), strict=True):
                    prefixes = self._by_token(items[index], text, columns)
                    scores[index] = Score(prefixes[-1], {"learned": prefixes[-1]}, prefixes)
            else:
                for number, index, score in zip(batch, owners, self._forward(texts), strict=True):
                    found.setdefault(index, []).append((lengths[number], score))
        for index, parts in found.items():
            scores[index] = parts[0][1] if len(parts) == 1 else _weighted(parts)
        return scores

    def _rows(self, items: Sequence[Item]) -> list[TokenizedAnswer | None]:
        """Ids of each item; None for what has no score."""
        answers = [PlainAnswer(item.prompt, item.response, item.metadata.get("messages")) for item in items]
        wanted = [index for index, item in enumerate(items) if not self._has_ids(item)]
        encoded = dict(zip(wanted, self.inputs.encode([answers[index] for index in wanted]), strict=True))
        found: list[TokenizedAnswer | None] = []
        for index, item in enumerate(items):
            row = encoded.get(index) or TokenizedAnswer(
                *(self._read(ids) for ids in (item.prompt_ids, item.response_ids))
            )
            is_empty = not row.response and (self.model.reads_response or not row.prompt)
            found.append(None if is_empty else row if self._window else self.inputs.fit(row))
        return found

    def _has_ids(self, item: Item) -> bool:
        return self.reads_ids and item.prompt_ids is not None and item.response_ids is not None

    def _read(self, ids: Sequence[int] | None) -> list[int]:
        return [id for id in ids or () if id not in self._unread]

    def _pieces(self, row: TokenizedAnswer) -> list[TokenizedAnswer]:
        """The row, or the windows of a text that is longer than what the model was trained on."""
        whole = row.response if self.model.reads_response else [*row.prompt, *row.response]
        if not self._window or len(row.prompt) + len(row.response) <= self._window:
            return [row]
        size = self._window
        return [TokenizedAnswer([], whole[start : start + size]) for start in range(0, len(whole), size)]

    def _by_token(self, item: Item, row: TokenizedAnswer, columns: Sequence[float]) -> list[float]:
        """Scores after the prompt and after each of the item's response ids, from those after each id of the row.

        Ids that the reward model never sees change nothing. Where nothing at all has been seen, the first score stands.
        """
        assert item.response_ids is not None
        seen = len(row.prompt) + np.cumsum([0, *(int(id not in self._unread) for id in item.response_ids)])
        return [columns[max(0, place - 1)] for place in seen.tolist()]

    def _forward(self, rows: Sequence[TokenizedAnswer]) -> list[Score]:
        model = self.model
        raw = self._computed(rows, model.raw_scores)
        totals = model.total(raw).tolist()
        by_criterion = {name: column.tolist() for name, column in model.parts(raw).items()} if model.criteria else {}
        return [
            Score(total, {"learned": total} | {name: column[row] for name, column in by_criterion.items()})
            for row, total in enumerate(totals)
        ]

    def _prefixes(self, rows: Sequence[TokenizedAnswer]) -> list[list[float]]:
        return self._computed(rows, lambda ids, mask, _: self.model.prefix_scores(ids, mask)).tolist()

    def _computed(self, rows: Sequence[TokenizedAnswer], scorer: Callable[..., Tensor]) -> Tensor:
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
            return scorer(*(tensor.to(backbone.device) for tensor in (ids, mask, response_mask)))


def _weighted(parts: Sequence[tuple[int, Score]]) -> Score:
    """The mean of the scores of a text's windows, each counted by its length."""
    length = sum(size for size, _ in parts)
    total = sum(size * (score.total or 0.0) for size, score in parts) / length
    names = parts[0][1].parts
    means = {name: sum(size * score.parts[name] for size, score in parts) / length for name in names}
    return Score(total, means)


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
