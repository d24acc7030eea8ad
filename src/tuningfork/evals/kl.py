"""How far a model moved: KL of its responses to the model before, and the least KL that could buy a change."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tuningfork.evals.logprobs import response_logprobs
from tuningfork.evals.statistics import binary_kl
from tuningfork.evals.summary import Measure

if TYPE_CHECKING:
    from tuningfork.model.backbone import Backbone
    from tuningfork.rollout.rollout import Rollout


def kl_per_sequence(
    after: Backbone, before: Backbone, rollouts: Sequence[Rollout], temperature: float = 1.0
) -> list[float]:
    """KL(after || before) in nats of each response that `after` sampled at `temperature`: k1 summed over its tokens."""
    own, reference = (response_logprobs(model, rollouts, temperature=temperature) for model in (after, before))
    return [float((a - b).sum()) for a, b in zip(own, reference, strict=True)]


def least_kl_of(measures: Sequence[Measure]) -> float | None:
    """Least nats a response that could buy the change of the first headline share; None where there is no finite one."""
    headline = next((m for m in measures if m.role == "headline"), None)
    if headline is None or headline.before is None or headline.after is None:
        return None
    if not 0 <= headline.before <= 1 or not 0 <= headline.after <= 1:
        return None
    nats = binary_kl(headline.after, headline.before)
    return nats if math.isfinite(nats) else None
