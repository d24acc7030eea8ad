"""Sampled trajectories as token ids, and their tensors. Nothing here is ever decoded and tokenised again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Self

import torch
from torch import Tensor

from tuningfork.batch import Batch
from tuningfork.randomness import derive_seed
from tuningfork.rollout.engine import FinishReason, Request, RolloutEngine
from tuningfork.rollout.settings import SamplingSettings

Role = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True)
class Prompt:
    """What a response is sampled for. `id` names its random numbers, `root` what it was made from (unit of splits).

    Example: Prompt(ids=[5, 9, 4], id="chair-3", root="chair")
    """

    ids: Sequence[int]
    id: str
    root: str = ""


@dataclass(frozen=True)
class Segment:
    """Consecutive tokens of one role that were all sampled, or all given.

    `logprobs` are those of a sampled segment under the distribution it was drawn from; `loss_weight` is how much each
    of its tokens counts in a loss on them.

    Example: Segment("assistant", [7, 2], is_sampled=True, loss_weight=1.0, logprobs=[-0.1, -0.7])
    """

    role: Role
    ids: Sequence[int]
    is_sampled: bool = False
    loss_weight: float = 0.0
    logprobs: Sequence[float] | None = None

    def __post_init__(self) -> None:
        if self.is_sampled:
            assert self.logprobs is not None and len(self.logprobs) == len(self.ids), "one log-probability a token"
        else:
            assert self.logprobs is None and self.loss_weight == 0, "a given segment is context only"


@dataclass(frozen=True)
class Rollout:
    """One trajectory: given and sampled segments in order, where it came from, and what it earned.

    A plain response is a user segment and an assistant segment; a chat or a use of tools has several of each.

    Example:
        rollout = sample(engine, [Prompt([5, 9, 4], "chair-3", "chair")], settings, seed=0)[0]
        rollout.response_ids, rollout.finish_reason  # [7, 2], "stop"
    """

    segments: tuple[Segment, ...]
    prompt_id: str
    group: int
    """equal for trajectories from one prompt in one call"""
    root: str
    seed_key: int
    """seed of the trajectory's random numbers"""
    policy_version: int
    finish_reason: FinishReason
    """how the last sampled segment ended"""
    reward: float | None = None
    """None until scored, and for what cannot be scored"""
    reward_parts: Mapping[str, float | Sequence[float]] = field(default_factory=dict)
    """named parts: one number, or one for each token"""

    @property
    def ids(self) -> list[int]:
        """All tokens."""
        return [token for segment in self.segments for token in segment.ids]

    @property
    def is_sampled(self) -> list[bool]:
        """For each token whether the policy chose it."""
        return [segment.is_sampled for segment in self.segments for _ in segment.ids]

    @property
    def prompt_ids(self) -> list[int]:
        """The tokens before the first sampled one."""
        return self.ids[: self.is_sampled.index(True)]

    @property
    def response_ids(self) -> list[int]:
        """The tokens from the first sampled one on, EOS included."""
        return self.ids[self.is_sampled.index(True) :]

    @property
    def sampled_logprobs(self) -> list[float]:
        """Log-probabilities of the sampled tokens under the distribution they were drawn from."""
        return [value for segment in self.segments for value in segment.logprobs or ()]

    def scored(self, reward: float | None, parts: Mapping[str, float | Sequence[float]]) -> Self:
        """The same trajectory with its reward."""
        return replace(self, reward=reward, reward_parts=parts)


@dataclass(frozen=True, kw_only=True)
class RolloutBatch(Batch):
    """Trajectories as tensors, padded on the right. What is said of a token stands at that TARGET token's column.

    ids (B, T) int64; mask (B, T) True on tokens; positions (B, T) int64; response_mask (B, T) True on sampled tokens up
    to and including EOS; loss_weights (B, T): weight of a sampled token in a loss, else 0; sampled_logprobs (B, T):
    under the sampling distribution, 0 elsewhere; groups (B,) int64.

    A forward's logits[:, t - 1] predict column t, so a response's log-probabilities are
    token_logprobs(logits[:, :-1], ids[:, 1:]) where response_mask[:, 1:].

    Example: prompt "a b", response "c <eos>", one pad:
        ids = [[a, b, c, eos, pad]], response_mask = [[0, 0, 1, 1, 0]], positions = [[0, 1, 2, 3, 3]]
    """

    ids: Tensor
    mask: Tensor
    positions: Tensor
    response_mask: Tensor
    loss_weights: Tensor
    sampled_logprobs: Tensor
    groups: Tensor


def sample(
    engine: RolloutEngine,
    prompts: Sequence[Prompt],
    settings: SamplingSettings,
    *,
    seed: int,
    num_samples: int = 1,
    first_sample: int = 0,
    advance: Callable[[int], None] | None = None,
) -> list[Rollout]:
    """`num_samples` trajectories for each prompt, those of one prompt together, prompts in order.

    A trajectory is a function of (weights, settings, seed, prompt id, sample index): of nothing else in the call.
    `first_sample` is the index of the first sample, so that more can be drawn later, or with other settings.
    """
    indices = range(first_sample, first_sample + num_samples)
    requests = [
        Request(prompt.ids, [derive_seed(seed, "sample", prompt.id, index) for index in indices]) for prompt in prompts
    ]
    rollouts = []
    for completion in engine.generate(requests, settings, advance=advance):
        prompt = prompts[completion.request_index]
        response = Segment("assistant", completion.token_ids, True, 1.0, completion.logprobs)
        rollouts.append(
            Rollout(
                segments=(Segment("user", prompt.ids), response),
                prompt_id=prompt.id,
                group=completion.request_index,
                root=prompt.root,
                seed_key=completion.key,
                policy_version=completion.policy_version,
                finish_reason=completion.finish_reason,
            )
        )
    return rollouts


def collate(rollouts: Sequence[Rollout], pad_id: int) -> RolloutBatch:
    """The trajectories as one right-padded batch on the CPU."""
    lengths = [len(rollout.ids) for rollout in rollouts]
    shape = (len(rollouts), max(lengths))
    ids = torch.full(shape, pad_id, dtype=torch.long)
    response_mask = torch.zeros(shape, dtype=torch.bool)
    loss_weights, sampled_logprobs = torch.zeros(shape), torch.zeros(shape)
    for row, rollout in enumerate(rollouts):
        start = 0
        for segment in rollout.segments:
            columns = slice(start, start + len(segment.ids))
            start = columns.stop
            ids[row, columns] = torch.as_tensor(segment.ids, dtype=torch.long)
            response_mask[row, columns] = segment.is_sampled
            loss_weights[row, columns] = segment.loss_weight
            if segment.logprobs is not None:
                sampled_logprobs[row, columns] = torch.as_tensor(segment.logprobs)
    mask = torch.arange(shape[1]) < torch.tensor(lengths)[:, None]
    return RolloutBatch(
        ids=ids,
        mask=mask,
        positions=(mask.cumsum(-1) - 1).clamp(min=0),
        response_mask=response_mask,
        loss_weights=loss_weights,
        sampled_logprobs=sampled_logprobs,
        groups=torch.tensor([rollout.group for rollout in rollouts]),
    )
