"""From the score of a response to rewards of its tokens: normalisation, missing EOS, clipping, and the price of KL.

Order (Huang et al. 2024, 2403.17031): normalise the score, apply the rule for a missing EOS, clip, spread over tokens:
    reward_t = -beta (logprob_t - ref_logprob_t) + [t is the last response token] score
Where a reward scores every prefix of a response, the score is paid as it arises instead of at the end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from pydantic import Field, model_validator

import tuningfork.settings
from tuningfork.methods.kl import k1
from tuningfork.tensors import last_index

if TYPE_CHECKING:
    from torch import Tensor


class Settings(tuningfork.settings.Settings):
    """What happens to a score before it becomes a reward."""

    missing_eos_score: float | None = -1.0
    """The score of a response cut off before its EOS, whatever its text; no punishment where scores lie below it.
    null keeps the text's own score."""

    missing_eos_penalty: float | None = Field(default=None, gt=0)
    """Taken off the score of a response cut off before its EOS; needs `missing_eos_score: null`."""

    clip: float | None = Field(default=None, gt=0)
    """Scores are clipped to plus and minus this; null does not clip."""

    @model_validator(mode="after")
    def _one_rule(self) -> Self:
        if self.missing_eos_score is not None and self.missing_eos_penalty is not None:
            raise ValueError("missing_eos_penalty has no effect beside missing_eos_score: set missing_eos_score: null")
        return self


def shape_scores(
    scores: Tensor, has_eos: Tensor, settings: Settings, *, mean: float = 0.0, deviation: float = 1.0
) -> tuple[Tensor, dict[str, Tensor]]:
    """Scores (B,) after normalisation, the rule for a missing EOS (`has_eos` (B,) bool) and clipping; and metrics (B,).

    `mean` and `deviation` are those of the raw scores of the reference's samples. Metrics: `eos` and `clipped_rewards`,
    1.0 or 0.0 for each response, whose means are the EOS rate and the share of clipped rewards.
    """
    shaped = normalise(scores, mean, deviation)
    if settings.missing_eos_score is not None:
        shaped = shaped.masked_fill(~has_eos, settings.missing_eos_score)
    if settings.missing_eos_penalty is not None:
        shaped = (shaped - settings.missing_eos_penalty).where(~has_eos, shaped)
    clipped = shaped if settings.clip is None else shaped.clamp(-settings.clip, settings.clip)
    return clipped, {"eos": has_eos.to(scores.dtype), "clipped_rewards": (clipped != shaped).to(scores.dtype)}


def normalise(scores: Tensor, mean: float, deviation: float) -> Tensor:
    """(scores - mean) / deviation: the reference's samples then have mean 0 and deviation 1 (Ziegler et al. 2019)."""
    return (scores - mean) / deviation


def overlong_penalty(lengths: Tensor, max_length: int, buffer: float) -> Tensor:
    """What is added to the score of a response of `lengths` (B,) tokens: soft overlong punishment (2503.14476, eq. 13).

    0 up to max_length - buffer tokens, then falling in a straight line to -1 at max_length, and -1 beyond.
    """
    return ((max_length - buffer - lengths) / buffer).clamp(-1.0, 0.0)


def terminal_rewards(scores: Tensor, mask: Tensor) -> Tensor:
    """Each score (B,) on its last response token, 0 elsewhere: (B, T), detached. A row without a token gets none."""
    columns = mask.new_ones(mask.shape[-1]).cumsum(-1) - 1  # 0, 1, 2 ...
    is_last = columns == last_index(mask).unsqueeze(-1)  # (B, T)
    return scores.detach().unsqueeze(-1).expand_as(mask).masked_fill(~is_last, 0.0)


def prefix_rewards(scores: Tensor, prefixes: Tensor, mask: Tensor) -> Tensor:
    """What each response token added to the score: (B, T), detached, 0 outside the mask.

    prefixes (B, T + 1): normalised scores of the prompt with the first 0, 1, ... columns of the response. Token t gets
    prefixes_t+1 - prefixes_t, and the last one also what the rules for scores changed, so that a row adds up to
    score - prefixes_0. That is potential-based shaping with the prefix scores as potential (Ng, Harada and Russell 1999):
    with gamma 1 no policy becomes better or worse by it, but a token's reward no longer waits for the end.
    """
    gains = prefixes.detach().diff(dim=-1).masked_fill(~mask, 0.0)
    left = scores - prefixes[:, 0] - gains.sum(-1)
    return gains + terminal_rewards(left, mask)


def kl_shaped_rewards(rewards: Tensor, logprobs: Tensor, ref_logprobs: Tensor, mask: Tensor, beta: float) -> Tensor:
    """Rewards (B, T) less beta times k1 on every response token: (B, T), detached, 0 outside the mask."""
    penalty = beta * k1(logprobs.detach(), ref_logprobs.detach()).masked_fill(~mask, 0.0)
    return rewards.detach().masked_fill(~mask, 0.0) - penalty
