"""What produces responses: the protocol of every engine, and what goes in and out.

The engine of this package runs in the training process (`sampler.LocalEngine`). Another one (a server, another
library) has to give the same: token ids as sampled, their log-probabilities under the distribution they were drawn
from, and results that do not depend on how requests were batched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from tuningfork.rollout.settings import SamplingSettings

if TYPE_CHECKING:
    from torch import Tensor

FinishReason = Literal["stop", "length"]
"""`stop`: the response ends with a stop token, which it includes; `length`: it was cut."""


@dataclass(frozen=True)
class Request:
    """One prompt and the keys of the responses wanted for it: one response a key.

    A key is the seed of a response's random numbers, so equal prompts and keys give equal responses.

    Example:
        Request([5, 9, 4], keys=[derive_seed(0, "sample", "chair-3", index) for index in range(8)])
    """

    prompt_ids: Sequence[int]
    keys: Sequence[int]


@dataclass(frozen=True)
class Completion:
    """One sampled response.

    Example: Completion(0, key, token_ids=[7, 2], logprobs=[-0.1, -0.7], finish_reason="stop", policy_version=3)
    """

    request_index: int
    key: int
    token_ids: list[int]
    logprobs: list[float]
    """of the sampling distribution: after filters and temperature"""
    finish_reason: FinishReason
    policy_version: int


class RolloutEngine(Protocol):
    """Generates responses with the weights it was given last."""

    def generate(
        self,
        requests: Sequence[Request],
        settings: SamplingSettings,
        *,
        advance: Callable[[int], None] | None = None,
    ) -> list[Completion]:
        """One completion for each key of each request, in that order.

        `advance` is called with the number of responses that were finished since the last call.
        """
        ...

    def update_weights(self, named: Iterable[tuple[str, Tensor]], *, version: int) -> None:
        """Take new weights; completions carry their version from now on."""
        ...
