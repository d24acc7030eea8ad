"""Pure functions of tensors that every method shares: masked moments, whitening, log-probabilities, entropy, pooling.

Shapes: B sequences, T tokens, V vocabulary, D width. A mask is boolean, True on the entries that count; whatever stands
elsewhere (even NaN) has no effect on a value or a gradient. Results are fp32, or fp64 where the input is.
This module is importable without torch, so that settings of methods can be read without it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

WHITEN_EPSILON = 1e-8

LOG_2 = 0.6931471805599453

SURE_LOGPROB = 1e-7
"""A log-probability nearer to 0 than this is taken as this, where 1 - p is asked for."""

CHUNK_ELEMENTS = 4_194_304
"""Logits that are turned into log-probabilities at a time: 16 MB in fp32."""


def masked_sum(x: Tensor, mask: Tensor, dim: int | None = None) -> Tensor:
    """Sum of x where the mask is True, over everything or over one dimension."""
    return at_least_fp32(x).masked_fill(~mask, 0.0).sum(dim)


def masked_mean(x: Tensor, mask: Tensor, dim: int | None = None) -> Tensor:
    """Mean of x where the mask is True; 0, with a graph, where no entry counts."""
    return masked_sum(x, mask, dim) / mask.sum(dim).clamp(min=1)


def masked_var(x: Tensor, mask: Tensor, *, unbiased: bool = False) -> Tensor:
    """Variance of x where the mask is True: over n, or with `unbiased` over n - 1 (at least 1)."""
    x = at_least_fp32(x).masked_fill(~mask, 0.0)
    squares = (x - masked_mean(x, mask)).square()
    divisor = mask.sum() - 1 if unbiased else mask.sum()
    return masked_sum(squares, mask) / divisor.clamp(min=1)


def whiten(x: Tensor, mask: Tensor, *, shift_mean: bool = True, unbiased: bool = False) -> Tensor:
    """x scaled to variance 1 and shifted to mean 0 over the mask; 0 outside it.

    With `shift_mean` False the mean is kept (rewards are whitened so). The biased variance is that of TensorFlow and
    of Ziegler et al. 2019 (1909.08593), the unbiased one is torch's default; they differ visibly for few entries.
    """
    x = at_least_fp32(x).masked_fill(~mask, 0.0)
    mean = masked_mean(x, mask)
    whitened = (x - mean) * (masked_var(x, mask, unbiased=unbiased) + WHITEN_EPSILON).rsqrt()
    if not shift_mean:
        whitened = whitened + mean
    return whitened.masked_fill(~mask, 0.0)


def explained_variance(values: Tensor, returns: Tensor, mask: Tensor) -> Tensor:
    """1 - Var(returns - values) / Var(returns) over the mask; 0 where the returns do not vary.

    1 is a perfect critic, 0 one that knows no more than the mean return, negative one that knows less.
    """
    variance = masked_var(returns, mask)
    unexplained = masked_var(at_least_fp32(returns) - at_least_fp32(values), mask)
    return (1.0 - unexplained / variance).masked_fill(variance == 0, 0.0)


def token_logprobs(logits: Tensor, targets: Tensor, temperature: float = 1.0) -> Tensor:
    """Log-probability of each target under its logits: (B, T, V) and (B, T) to (B, T), or (N, V) and (N,) to (N,).

    Not shifted: the caller passes logits[:, :-1] with ids[:, 1:]. `temperature` is the one the targets were sampled at.
    A target whose logit is -inf has log-probability -inf. Works on a few tokens at a time, so that no second tensor of
    the size of the logits is made.
    """

    def of_chunk(chunk: Tensor, wanted: Tensor) -> Tensor:
        scaled = _tempered(chunk, temperature)
        return scaled.gather(-1, wanted.unsqueeze(-1)).squeeze(-1) - scaled.logsumexp(-1)

    return _by_chunk(of_chunk, logits, targets)


def entropy(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Entropy in nats of each next-token distribution, (B, T, V) to (B, T) or (N, V) to (N,).

    A logit of -inf contributes nothing.
    """

    def of_chunk(chunk: Tensor) -> Tensor:
        scaled = _tempered(chunk, temperature)
        normaliser = scaled.logsumexp(-1, keepdim=True)
        # A banned token has p = 0 and logit -inf: its 0 * -inf would be NaN, in the value and in the gradient.
        finite = scaled.masked_fill(scaled == -float("inf"), 0.0)
        return normaliser.squeeze(-1) - ((scaled - normaliser).exp() * finite).sum(-1)

    return _by_chunk(of_chunk, logits)


def logsigmoid(x: Tensor) -> Tensor:
    """log(sigmoid(x)), finite for every finite x (log of sigmoid is -inf below -88 in fp32)."""
    x = at_least_fp32(x)
    return -x.new_zeros(()).logaddexp(-x)


def log1mexp(x: Tensor) -> Tensor:
    """log(1 - exp(x)) of x <= 0: the log-probability of what has probability 1 - exp(x).

    By expm1 near 0 and by log1p far from it (Maechler 2012), each exact where the other loses all digits. x is kept
    SURE_LOGPROB below 0, where the result would be -inf; the gradient there is 0.
    """
    x = at_least_fp32(x).clamp(max=-SURE_LOGPROB)
    near, far = (-x.expm1()).log(), (-x.exp()).log1p()
    return near.where(x > -LOG_2, far)


def last_index(mask: Tensor) -> Tensor:
    """Column of the last True of each row, (B, T) to (B,); -1 for a row without one.

    Reads the attention mask, never token ids: with pad equal to eos a search by id finds the wrong column.
    """
    columns = mask.new_ones(mask.shape[-1]).cumsum(-1)
    return (mask * columns).amax(-1) - 1


def pool_last(hidden: Tensor, mask: Tensor) -> Tensor:
    """The hidden state at the last True of each row's mask, (B, T, D) to (B, D); each row needs one."""
    index = last_index(mask)[:, None, None].expand(-1, 1, hidden.shape[-1])  # (B, 1, D)
    return hidden.gather(1, index).squeeze(1)


def pool_mean(hidden: Tensor, mask: Tensor) -> Tensor:
    """The mean hidden state over each row's mask, (B, T, D) to (B, D)."""
    return masked_mean(hidden, mask.unsqueeze(-1), dim=1)


def predictors(hidden: Tensor, is_target: Tensor) -> Tensor:
    """The states (or logits) that predict the target tokens, (B, T, ...) and (B, T) to (N, ...), row by row.

    Column t - 1 predicts the token in column t, so a target in column 0 has no predictor and may not be.
    """
    return hidden[:, :-1][is_target[:, 1:]]


def at_targets(values: Tensor, is_target: Tensor) -> Tensor:
    """Values (N,) of the target tokens at their own columns, (B, T); 0 elsewhere."""
    return values.new_zeros(is_target.shape).masked_scatter(is_target, values)


def reduce_metrics(parts: Sequence[tuple[dict[str, Tensor], Tensor]]) -> dict[str, float]:
    """Metrics of one optimizer step from those of its micro-batches: (metrics by name, mask), each (B, T) or (B,).

    A metric is the mean over all entries that count in all parts, so that the split does not change it;
    a name that ends in `_max` takes the maximum instead. Without any entry that counts there is no metric.
    """
    parts = [(metrics, mask) for metrics, mask in parts if bool(mask.any())]
    if not parts:
        return {}
    count = sum(int(mask.sum()) for _, mask in parts)
    reduced: dict[str, float] = {}
    for name in parts[0][0]:
        if name.endswith("_max"):
            reduced[name] = max(float(metrics[name][mask].max()) for metrics, mask in parts)
        else:
            reduced[name] = sum(float(masked_sum(metrics[name], mask)) for metrics, mask in parts) / count
    return reduced


def at_least_fp32(x: Tensor) -> Tensor:
    """fp32 and float64 as they are, everything narrower as fp32."""
    return x if x.dtype.is_floating_point and x.dtype.itemsize >= 4 else x.float()


def _tempered(logits: Tensor, temperature: float) -> Tensor:
    logits = at_least_fp32(logits)
    return logits if temperature == 1.0 else logits / temperature


def _by_chunk(function: Callable[..., Tensor], logits: Tensor, *targets: Tensor) -> Tensor:
    """`function` of a few tokens of the logits (..., T, V) and targets (..., T) at a time, put together again.

    Split, not indexed: the gradient of an index is a whole zero tensor for each chunk, that of a split one
    concatenation.
    """
    from torch import cat

    num_tokens = max(1, CHUNK_ELEMENTS * logits.shape[-2] // max(1, logits.numel()))
    wanted = [tensor.split(num_tokens, dim=-1) for tensor in targets]
    return cat([function(*chunk) for chunk in zip(logits.split(num_tokens, dim=-2), *wanted, strict=True)], dim=-1)
