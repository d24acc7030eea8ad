"""ReST (Gulcehre et al. 2023, 2308.08998): keep every response above a threshold, and raise it from step to step.

A recipe has one selecting stage for each improve step, with rising thresholds over the same pool; a grow step samples
from the model so far. Scores are compared over all prompts together, as in the paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self

from pydantic import Field, model_validator

import tuningfork.settings
from tuningfork.methods import about
from tuningfork.methods.selection import Uniform


class Settings(tuningfork.settings.Settings):
    """Settings of ReST."""

    threshold: float = 0.7
    """responses of at least this are kept"""
    by: Literal["quantile", "score"] = "quantile"
    """what the threshold is: a share of the pool that lies below it, or a score"""
    most: int = Field(default=4, ge=1)
    """at most this many responses of a prompt, the best ones, so that easy prompts do not fill the data"""

    @model_validator(mode="after")
    def _quantile_is_a_share(self) -> Self:
        if self.by == "quantile" and not 0 <= self.threshold < 1:
            raise ValueError("threshold: a quantile lies from 0 to below 1; for a score say by: score")
        return self


def select(groups: Sequence[Sequence[float]], uniforms: Sequence[Uniform], settings: Settings) -> list[list[int]]:
    """The scores of at least the threshold, at most `most` of a prompt; ties at that limit are broken at random."""
    least = settings.threshold
    if settings.by == "quantile":
        least = quantile([score for scores in groups for score in scores], settings.threshold)
    kept = []
    for scores, uniform in zip(groups, uniforms, strict=True):
        order = sorted([(s, uniform(), place) for place, s in enumerate(scores) if s >= least], reverse=True)
        kept.append(sorted(place for _, _, place in order[: settings.most]))
    return kept


def quantile(scores: Sequence[float], share: float) -> float:
    """The score that a `share` of all lies below: the one at floor(share N) in ascending order, so it is one of them."""
    return sorted(scores)[int(share * len(scores))] if scores else 0.0


ABOUT = about.About(
    title="ReST",
    summary="learns every response above a threshold that rises from step to step",
    papers=("2308.08998",),
    loss="everything from a threshold on, a quantile of the pool or a score; at most `most` of a prompt",
    columns={"compared": "over the pool"},
    defaults={
        "threshold": "own choice",
        "by": "own choice; 2308.08998 has scores scaled to [0, 1]",
        "most": "own choice",
    },
)
