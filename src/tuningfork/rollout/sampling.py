"""From logits to tokens: filters, temperature, and a draw by the inverse of the cumulative distribution.

Shapes: B rows, V vocabulary. `torch.multinomial` is not used: it is an order of magnitude slower on CPUs, and its
draws depend on the batch; here a row's token is a function of its logits and of its own uniform number.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tuningfork.rollout.settings import SamplingSettings

_DROPPED = -float("inf")


def choose_tokens(logits: Tensor, uniforms: Tensor, settings: SamplingSettings) -> tuple[Tensor, Tensor]:
    """Tokens (B,) int64 and their log-probabilities (B,) fp32 under the distribution they were drawn from.

    logits (B, V), uniforms (B,) in [0, 1). The distribution is the one after filters and temperature; a greedy choice
    is certain, so its log-probability is 0. Logits that are NaN give a NaN log-probability.
    """
    if settings.greedy:
        best = logits.amax(-1)
        return logits.argmax(-1), (best - best).float()
    logprobs = sampling_logprobs(logits, settings)
    tokens = _invert_cumulative(logprobs.exp(), uniforms)
    return tokens, logprobs.gather(-1, tokens.unsqueeze(-1)).squeeze(-1)


def sampling_logprobs(logits: Tensor, settings: SamplingSettings) -> Tensor:
    """Log-probabilities (B, V) fp32 of the distribution that samples come from; -inf where a filter drops a token."""
    logits = logits.float()
    if settings.floor > 0:
        logits = _drop_unlikely(logits, settings.floor)
    if settings.temperature != 1.0:
        logits = _tempered(logits, settings)
    if 0 < settings.top_k < logits.shape[-1]:
        smallest_kept = logits.topk(settings.top_k).values[:, -1:]
        logits = logits.masked_fill(logits < smallest_kept, _DROPPED)
    if settings.top_p < 1:
        logits = _keep_nucleus(logits, settings.top_p)
    return logits.log_softmax(-1)


def _tempered(logits: Tensor, settings: SamplingSettings) -> Tensor:
    """Logits over the temperature, but as they are in rows whose entropy is below `least_entropy`."""
    tempered = logits / settings.temperature
    if not settings.least_entropy:
        return tempered
    logprobs = logits.log_softmax(-1)
    entropy = -(logprobs.exp() * logprobs.masked_fill(logprobs == _DROPPED, 0.0)).sum(-1, keepdim=True)
    return torch.where(entropy < settings.least_entropy, logits, tempered)


def _drop_unlikely(logits: Tensor, floor: float) -> Tensor:
    is_best = logits == logits.amax(-1, keepdim=True)
    return logits.masked_fill((logits.softmax(-1) < floor) & ~is_best, _DROPPED)


def _keep_nucleus(logits: Tensor, top_p: float) -> Tensor:
    """Keep the fewest likeliest tokens whose probabilities sum to at least top_p (Holtzman et al. 2020, 1904.09751)."""
    ordered, order = logits.sort(dim=-1, descending=True, stable=True)
    probabilities = ordered.softmax(-1)
    mass_before = probabilities.cumsum(-1) - probabilities
    is_outside = mass_before >= top_p
    return logits.masked_fill(is_outside.scatter(-1, order, is_outside), _DROPPED)


def _invert_cumulative(probabilities: Tensor, uniforms: Tensor) -> Tensor:
    """The first token at which the cumulative probability exceeds the uniform number, (B, V) and (B,) to (B,)."""
    # fp32 sums of a large vocabulary lose the tail; MPS has no fp64.
    dtype = torch.float32 if probabilities.device.type == "mps" else torch.float64
    cumulative = probabilities.cumsum(-1, dtype=dtype)
    total = cumulative[:, -1]
    # Rounding must not carry the target to the total, beyond the last token with any probability.
    target = torch.minimum(uniforms.to(dtype) * total, torch.nextafter(total, torch.zeros_like(total)))
    tokens = torch.searchsorted(cumulative, target.unsqueeze(-1), right=True).squeeze(-1)
    return tokens.clamp(max=probabilities.shape[-1] - 1)  # only NaN gets there, and the log-probability says so
