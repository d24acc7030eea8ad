"""What the training loop hands to a method: small frozen groups of tensors with named shapes.

Shapes: B sequences (or pairs), T tokens. Masks are boolean, True on what counts. Each batch can be cut into
micro-batches with `slice`; averages are weights that were computed over the whole batch before the cut, so the cut
cannot change a gradient.
This module is importable without torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from torch import Tensor, device


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Tensors that share their first dimension. Fields that are None or plain numbers belong to all rows."""

    def slice(self, rows: slice) -> Self:
        """These rows as a batch of their own; views, not copies."""
        return self._map(lambda tensor: tensor[rows])

    def to(self, where: device | str) -> Self:
        """The same batch on another device."""
        return self._map(lambda tensor: tensor.to(where, non_blocking=True))

    def __len__(self) -> int:
        return next(value.shape[0] for _, value in self._tensors())

    def _tensors(self) -> list[tuple[str, Any]]:
        values = [(field.name, getattr(self, field.name)) for field in fields(self)]
        return [(name, value) for name, value in values if hasattr(value, "shape")]

    def _map(self, function: Callable[[Any], Any]) -> Self:
        return replace(self, **{name: function(value) for name, value in self._tensors()})


@dataclass(frozen=True, kw_only=True)
class TokenBatch(Batch):
    """Texts to predict token by token (pretraining, fine-tuning).

    ids (B, T) int64; mask (B, T) True on real tokens; loss_weights (B, T): the weight of predicting ids[:, t] from the
    tokens before it. It stands at the TARGET's column, so column 0 is never used, and prompt and padding have 0.

    documents (B, T) int64 numbers the documents of packed rows, padding included; None where each row is one document.

    Example: prompt "a b", response "c <eos>", one pad:
        ids = [[a, b, c, eos, pad]], mask = [[1, 1, 1, 1, 0]], loss_weights = [[0, 0, 1, 1, 0]]
    """

    ids: Tensor
    mask: Tensor
    loss_weights: Tensor
    documents: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class ComparisonBatch(Batch):
    """Prompts with K responses each that were compared; K may differ, P is the most comparisons of one prompt.

    ids (B, K, T) int64, mask and response_mask (B, K, T): prompt and response, as in `LabelBatch`. present (B, K): which
    responses there are; only these are scored. better and worse (B, P) int64: numbers of the responses of each comparison.
    margins (B, P): how much better, 0 when unknown. weights (B, P): of each comparison in the loss; they sum to 1 over the
    optimizer step and are 0 where a prompt has fewer than P. places (B, K): 1 best, for losses of whole rankings.

    Example: a prompt with 3 responses, all pairs compared, and one with 2:
        better = [[0, 0, 1], [1, 0, 0]], worse = [[1, 2, 2], [0, 0, 0]], weights = [[1/6, 1/6, 1/6], [1/2, 0, 0]]
    """

    ids: Tensor
    mask: Tensor
    response_mask: Tensor
    present: Tensor
    better: Tensor
    worse: Tensor
    margins: Tensor
    weights: Tensor
    places: Tensor


@dataclass(frozen=True, kw_only=True)
class LabelBatch(Batch):
    """Texts with a label each (a classifier as reward).

    ids (B, T) int64; mask (B, T) True on real tokens; response_mask (B, T) True on the part that is judged (what mean
    pooling reads); labels (B,) in [0, 1], fractions where raters disagreed; weights (B,), summing to 1 over the
    optimizer step.

    Example: ids.shape == (3, T), labels = [1, 0, 0.5], weights = [1/3, 1/3, 1/3]
    """

    ids: Tensor
    mask: Tensor
    response_mask: Tensor
    labels: Tensor
    weights: Tensor


@dataclass(frozen=True, kw_only=True)
class RatingBatch(Batch):
    """Texts with ratings on one criterion or several.

    ids, mask, response_mask (B, T) and weights (B,) as in `LabelBatch`; ratings (B, C), standardised; given (B, C) bool: which
    were given.

    Example: two texts, the second rated on the first of two criteria only:
        ratings = [[1.2, -0.3], [0.1, 0.0]], given = [[True, True], [True, False]]
    """

    ids: Tensor
    mask: Tensor
    response_mask: Tensor
    ratings: Tensor
    given: Tensor
    weights: Tensor


@dataclass(frozen=True, kw_only=True)
class Experience(Batch):
    """What is known about sampled responses before any update; a policy method makes advantages of it.

    Columns are response tokens. scores (B,): the reward of each response after the rules for missing EOS and clipping.
    old_logprobs (B, T): under the policy that sampled; ref_logprobs (B, T): under the reference; values (B, T): the
    critic's estimate BEFORE each token was chosen; mask (B, T): True up to and including EOS, nowhere in the row of a
    response that could not be scored; groups (B,): the same number for responses to one prompt; baselines (B,): what
    the score is compared with, from a greedy response or earlier batches; prefix_scores (B, T + 1): normalised
    scores of the prompt with the first 0, 1, ... response tokens, where the reward gives them; max_length: tokens a
    response may have; kl_coefficient: reward taken per nat of KL. What a method does not need (see `Needs`) may be None.

    Example: two responses of 3 and 1 tokens:
        scores = [1.0, -1.0], old_logprobs.shape == (2, 3), mask = [[1, 1, 1], [1, 0, 0]]
    """

    scores: Tensor
    old_logprobs: Tensor
    mask: Tensor
    ref_logprobs: Tensor | None = None
    values: Tensor | None = None
    groups: Tensor | None = None
    baselines: Tensor | None = None
    prefix_scores: Tensor | None = None
    max_length: int | None = None
    kl_coefficient: float = 0.0

    @property
    def is_scored(self) -> Tensor:
        """(B,) True on responses that take part."""
        return self.mask.any(-1)


@dataclass(frozen=True, kw_only=True)
class Advantages(Batch):
    """What a policy method makes of an `Experience`; all detached and 0 outside the mask.

    advantages (B, T); returns (B, T): targets of the critic, None for a method without one.

    Example: one response of 2 tokens with gamma = lambda = 1, score 1 and values [0.5, 0.75]:
        advantages = [[0.5, 0.25]], returns = [[1, 1]]
    """

    advantages: Tensor
    returns: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class PolicyBatch(Batch):
    """What one policy loss is computed from: the forward with gradient, and what was fixed after sampling.

    All (B, T), columns are response tokens. With gradient: logprobs, values and entropy. Fixed: old_logprobs,
    old_values, ref_logprobs, advantages, returns. weights (B, T): the average (see `methods.average`), computed over
    the whole optimizer step; the loss is (token losses * weights).sum(). kl_coefficient: only for methods that have KL
    in the loss. What a method does not need may be None.

    Example:
        weights = average_weights(mask, "token_mean")
        PolicyBatch(logprobs=new, old_logprobs=old, advantages=advantages, mask=mask, weights=weights)
    """

    logprobs: Tensor
    old_logprobs: Tensor
    advantages: Tensor
    mask: Tensor
    weights: Tensor
    returns: Tensor | None = None
    values: Tensor | None = None
    old_values: Tensor | None = None
    ref_logprobs: Tensor | None = None
    entropy: Tensor | None = None
    kl_coefficient: float = 0.0

    def zero_padding(self) -> PolicyBatch:
        """The same batch with 0 outside the mask, so that exp of what stands there cannot become inf or NaN."""
        return self._map(lambda tensor: tensor.masked_fill(~self.mask, 0))


@dataclass(frozen=True)
class Needs:
    """What a policy method wants computed for it.

    Example: Needs(values=True, reference=True)
    """

    values: bool = False
    """The critic's values."""
    reference: bool = False
    """The reference's log-probabilities."""
    entropy: bool = False
    """The entropy of the policy at each token, with gradient."""
    groups: bool = False
    """Several responses to each prompt."""
    on_policy: bool = False
    """Responses of the very policy that is updated: one pass over a batch, in one optimizer step."""
    greedy: bool = False
    """The score of the greedy response to each prompt, as baselines."""
    moving_average: float | None = None
    """The average return of earlier batches, as baselines; the number is what one batch leaves of it (decay)."""
    resampling: int | None = None
    """Only prompts whose responses differ in score; rounds of sampling other prompts in place of those dropped."""


@dataclass(frozen=True, kw_only=True)
class PairLogprobs(Batch):
    """What a preference method computes its loss from: pairs of responses of which the first was preferred.

    All (B,): chosen and rejected, log-probability of the response under the policy, SUMMED over its tokens, with
    gradient; ref_chosen and ref_rejected, the same under the reference, fixed, None for a method without one;
    chosen_lengths and rejected_lengths, tokens of the responses.

    Example: PairLogprobs(chosen=[-4.0], rejected=[-6.0], chosen_lengths=[4], rejected_lengths=[3])
    """

    chosen: Tensor
    rejected: Tensor
    chosen_lengths: Tensor
    rejected_lengths: Tensor
    ref_chosen: Tensor | None = None
    ref_rejected: Tensor | None = None

    def exchanged(self) -> PairLogprobs:
        """The same pairs with the other response preferred."""
        return PairLogprobs(
            chosen=self.rejected,
            rejected=self.chosen,
            chosen_lengths=self.rejected_lengths,
            rejected_lengths=self.chosen_lengths,
            ref_chosen=self.ref_rejected,
            ref_rejected=self.ref_chosen,
        )


@dataclass(frozen=True, kw_only=True)
class TextLogprobs(Batch):
    """What a method for unpaired feedback computes its loss from: responses that were found good or bad.

    All (B,): logprobs under the policy, summed over the response's tokens, with gradient; ref_logprobs under the
    reference, fixed; is_desirable, boolean. kl: the policy's KL from the reference, in nats a response, estimated over
    the whole optimizer step before it is split.

    Example: TextLogprobs(logprobs=[-4.0, -6.0], ref_logprobs=[-5.0, -5.0], is_desirable=[True, False], kl=0.1)
    """

    logprobs: Tensor
    ref_logprobs: Tensor
    is_desirable: Tensor
    kl: float


@dataclass(frozen=True)
class PreferenceNeeds:
    """What a preference method wants computed for it.

    Example: PreferenceNeeds(reference=True)
    """

    reference: bool = False
    """Log-probabilities under the reference."""
    unpaired: bool = False
    """Single responses with a verdict (`TextLogprobs`) instead of pairs (`PairLogprobs`)."""
