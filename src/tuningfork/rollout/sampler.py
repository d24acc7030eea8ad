"""The engine that samples in the training process: a transformers forward, a growing KV cache, and our own draw.

What it saves: a prompt with several responses is prefilled once; prompts of similar length share a batch, padded on
the left; finished rows leave the batch; logits are computed at the last position only.

A response depends on its prompt and its key, not on its row, its batch or the order. The one exception is rounding:
between batch shapes a forward differs in its last bits, so a draw that falls that close to the boundary of two tokens
may take the other one (rarely in fp32, often in bf16). Equal calls give equal results.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
import torch
from torch import Tensor

from tuningfork.errors import ModelError
from tuningfork.randomness import uniforms
from tuningfork.rollout.batching import BatchLimits, DecodeBatch, plan_batches
from tuningfork.rollout.engine import Completion, Request
from tuningfork.rollout.sampling import choose_tokens
from tuningfork.rollout.settings import SamplingSettings
from tuningfork.runtime import Runtime

if TYPE_CHECKING:
    from transformers import Cache

_COMPACT_SHARE = 8  # the batch shrinks when one row in this many has finished; copying the cache costs about a step


class CausalModel(Protocol):
    """What the engine needs of a model; `model.backbone.Backbone` has it."""

    @property
    def model(self) -> Any: ...
    @property
    def pad_id(self) -> int: ...
    @property
    def stop_ids(self) -> Sequence[int]: ...
    @property
    def max_length(self) -> int: ...
    @property
    def device(self) -> torch.device: ...
    def forward_cached(
        self, ids: Tensor, mask: Tensor, positions: Tensor | None = None, cache: Cache | None = None
    ) -> tuple[Tensor, Cache]: ...
    def lm_head(self, hidden: Tensor) -> Tensor: ...


class LocalEngine:
    """Samples from a model in this process, with the weights it has at the moment of the call.

    Example:
        engine = LocalEngine(backbone)
        completions = engine.generate([Request(prompt_ids, keys=[17, 18])], SamplingSettings(max_new_tokens=20))
    """

    def __init__(
        self,
        backbone: CausalModel,
        *,
        runtime: Runtime | None = None,
        limits: BatchLimits | None = None,
        say: Callable[[str], None] | None = None,
    ) -> None:
        """`runtime` gives the precision (default: that of the caller); `say` hears when the context cuts responses."""
        self.backbone = backbone
        self._autocast = runtime.autocast if runtime is not None else contextlib.nullcontext
        self.limits = limits or BatchLimits()
        self.policy_version = 0
        self._say = say

    def generate(
        self,
        requests: Sequence[Request],
        settings: SamplingSettings,
        *,
        advance: Callable[[int], None] | None = None,
    ) -> list[Completion]:
        """One completion for each key of each request, in that order.

        Raises DataError for a prompt that is empty or fills the context, ModelError when the logits are not finite.
        """
        batches = list(plan_batches(requests, settings.max_new_tokens, self.backbone.max_length, self.limits))
        self._announce_cuts(batches, settings.max_new_tokens)
        results: list[Completion | None] = [None] * sum(len(request.keys) for request in requests)
        with _inference(self.backbone.model), self._autocast():
            for batch in batches:
                for row, completion in zip(batch.rows, self._complete(batch, settings), strict=True):
                    results[row.place] = completion
                if advance is not None:
                    advance(len(batch.rows))
        completions = [completion for completion in results if completion is not None]
        assert len(completions) == len(results), "the plan lost a response"
        return completions

    def update_weights(self, named: Iterable[tuple[str, Tensor]], *, version: int) -> None:
        """Only the version changes: the trainer's weights are the engine's, so `named` has to be empty."""
        assert not list(named), "the local engine shares the trainer's weights"
        self.policy_version = version

    def _announce_cuts(self, batches: Sequence[DecodeBatch], max_new_tokens: int) -> None:
        limits = [row.limit for batch in batches for row in batch.rows if row.limit < max_new_tokens]
        if limits and self._say is not None:
            self._say(
                f"{len(limits)} responses may have fewer than max_new_tokens = {max_new_tokens} tokens (least: "
                f"{min(limits)}): prompt and response share a context of {self.backbone.max_length}"
            )

    def _complete(self, batch: DecodeBatch, settings: SamplingSettings) -> Iterator[Completion]:
        tokens, logprobs, lengths, is_stopped = (tensor.tolist() for tensor in self._decode(batch, settings))
        for index, row in enumerate(batch.rows):
            length = lengths[index]
            if not all(value > -float("inf") for value in logprobs[index][:length]):  # NaN fails too
                raise ModelError(
                    f"the model's logits for prompt {row.request + 1} are not finite; its weights may have diverged "
                    "(lower the learning rate) or overflow in this precision"
                )
            yield Completion(
                request_index=row.request,
                key=row.key,
                token_ids=tokens[index][:length],
                logprobs=logprobs[index][:length],
                finish_reason="stop" if is_stopped[index] else "length",
                policy_version=self.policy_version,
            )

    def _decode(self, batch: DecodeBatch, settings: SamplingSettings) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Tokens (R, N), log-probabilities (R, N), lengths (R,) and whether a stop token came (R,), for R responses."""
        device, num_rows = self.backbone.device, len(batch.rows)
        limits = torch.tensor([row.limit for row in batch.rows], device=device)
        longest = int(limits.max())
        draws = _draws([row.key for row in batch.rows], longest, device)
        stop_ids = torch.tensor(list(self.backbone.stop_ids), dtype=torch.long, device=device)
        tokens = torch.zeros(num_rows, longest, dtype=torch.long, device=device)
        logprobs = torch.zeros(num_rows, longest, device=device)
        lengths, is_stopped = limits.clone(), torch.zeros(num_rows, dtype=torch.bool, device=device)
        state = _DecodeState(self.backbone, batch.prompts)
        state.keep(torch.tensor(batch.prompt_of_row, device=device))  # repeats each prompt for its responses
        rows = torch.arange(num_rows, device=device)  # the responses still in the batch
        is_done = torch.zeros(num_rows, dtype=torch.bool, device=device)
        for step in range(longest):
            chosen, chosen_logprobs = choose_tokens(state.logits, draws[rows, step], settings)
            tokens[rows, step], logprobs[rows, step] = chosen, chosen_logprobs
            stops_now = torch.isin(chosen, stop_ids) & ~is_done
            lengths[rows[stops_now]] = step + 1
            is_stopped[rows[stops_now]] = True
            is_done = is_done | stops_now | (step + 1 >= limits[rows])
            num_done = int(is_done.sum())
            if num_done == len(rows):
                break
            if num_done * _COMPACT_SHARE >= len(rows):
                kept = (~is_done).nonzero().squeeze(-1)
                state.keep(kept)
                rows, chosen, is_done = rows[kept], chosen[kept], is_done[kept]
            state.advance(chosen)
        return tokens, logprobs, lengths, is_stopped


class _DecodeState:
    """The model's view of a batch: KV cache, mask and positions, and the logits of the next token (R, V)."""

    def __init__(self, backbone: CausalModel, prompts: Sequence[Sequence[int]]) -> None:
        self._backbone = backbone
        self._cache: Cache | None = None
        longest = max(len(prompt) for prompt in prompts)
        ids = torch.full((len(prompts), longest), backbone.pad_id)
        mask = torch.zeros(len(prompts), longest, dtype=torch.long)
        for index, prompt in enumerate(prompts):
            ids[index, longest - len(prompt) :] = torch.as_tensor(prompt)
            mask[index, longest - len(prompt) :] = 1
        self._mask = mask.to(backbone.device)
        self._next_position = self._mask.sum(-1, keepdim=True)
        self._forward(ids.to(backbone.device), (self._mask.cumsum(-1) - 1).clamp(min=0))

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows; one named twice is repeated."""
        assert self._cache is not None
        self._cache.reorder_cache(cast(torch.LongTensor, rows))
        self._mask, self._next_position, self.logits = self._mask[rows], self._next_position[rows], self.logits[rows]

    def advance(self, tokens: Tensor) -> None:
        """Append one token (R,) to each row."""
        self._mask = torch.cat([self._mask, self._mask.new_ones(len(tokens), 1)], dim=-1)
        self._forward(tokens.unsqueeze(-1), self._next_position)
        self._next_position = self._next_position + 1

    def _forward(self, ids: Tensor, positions: Tensor) -> None:
        hidden, self._cache = self._backbone.forward_cached(ids, self._mask, positions, self._cache)
        self.logits = self._backbone.lm_head(hidden[:, -1])  # (R, V): every row ends at the last column


def _draws(keys: Sequence[int], num_tokens: int, device: torch.device) -> Tensor:
    """Uniform numbers (R, N): the one for a key and a position of the response is the same in every batch."""
    numbers = torch.from_numpy(uniforms(keys, np.arange(num_tokens)))
    return numbers.to(device, torch.float32 if device.type == "mps" else torch.float64)


@contextlib.contextmanager
def _inference(model: Any) -> Iterator[None]:
    """No gradients and no dropout; afterwards the model is in the mode it was in."""
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was_training)
