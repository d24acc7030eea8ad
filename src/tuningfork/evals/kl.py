"""How far a model moved: KL of its responses to the model before, and the least KL that could buy a change."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tuningfork.evals.logprobs import response_logprobs
from tuningfork.evals.summary import Measure

if TYPE_CHECKING:
    from tuningfork.model.backbone import Backbone
    from tuningfork.rollout.rollout import Rollout


def kl_per_sequence(after: Backbone, before: Backbone, rollouts: Sequence[Rollout]) -> list[float]:
    """KL(after || before) in nats of each response that `after` sampled: k1 summed over its tokens."""
    own, reference = response_logprobs(after, rollouts), response_logprobs(before, rollouts)
    return [float((a - b).sum()) for a, b in zip(own, reference, strict=True)]


def least_kl(before: float, after: float) -> float | None:
    """Nats of one yes-or-no choice that moves a share from `before` to `after`: no policy can pay less for it.

    KL(q || p) = q log(q/p) + (1 - q) log((1 - q)/(1 - p)), by the data-processing inequality; None where p is 0 or 1.
    """
    p, q = before, after
    if not 0 < p < 1 or not 0 <= q <= 1:
        return None
    return sum(a * math.log(a / b) for a, b in ((q, p), (1 - q, 1 - p)) if a > 0)


def least_kl_of(measures: Sequence[Measure]) -> float | None:
    """`least_kl` of the first headline measure."""
    headline = next((m for m in measures if m.role == "headline"), None)
    if headline is None or headline.before is None or headline.after is None:
        return None
    return least_kl(headline.before, headline.after)
