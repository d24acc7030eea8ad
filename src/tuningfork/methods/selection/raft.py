"""RAFT (Dong et al. 2023, 2304.06767): keep the best responses to each prompt, and learn them.

Compared within a prompt and never over the pool, where easy prompts would win. A prompt whose responses all have one
score teaches nothing and is dropped. Left out: the paper's choice among temperatures, which is the stage's `sampling`.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

import tuningfork.settings
from tuningfork.methods import about
from tuningfork.methods.selection import Uniform


class Settings(tuningfork.settings.Settings):
    """Settings of RAFT."""

    keep: int = Field(default=1, ge=1)
    """responses kept of each prompt, the best ones; the paper keeps 1"""


def select(groups: Sequence[Sequence[float]], uniforms: Sequence[Uniform], settings: Settings) -> list[list[int]]:
    """The `keep` highest scores of each prompt; ties are broken at random."""
    return [_best(scores, uniform, settings.keep) for scores, uniform in zip(groups, uniforms, strict=True)]


def _best(scores: Sequence[float], uniform: Uniform, keep: int) -> list[int]:
    if len(scores) < 2 or min(scores) == max(scores):
        return []
    order = sorted([(score, uniform(), place) for place, score in enumerate(scores)], reverse=True)
    return sorted(place for _, _, place in order[:keep])


ABOUT = about.About(
    title="RAFT",
    summary="learns the best response to each prompt",
    papers=("2304.06767",),
    loss="the best of each prompt (`keep: 1`); prompts of one score are dropped",
    columns={"compared": "within a prompt"},
    defaults={
        "keep": "2304.06767",
    },
)
