"""Statistical rejection sampling (Liu et al. 2023, 2309.06657, algorithm 1): samples of the policy that is wanted.

A response of score r is accepted with probability exp((r - r_max) / beta), r_max the highest score not yet accepted:
what is kept is distributed as reference exp(r / beta), the optimum of reward less beta KL. Beta to infinity accepts all,
beta to 0 keeps the best. Rounds go over what is left, with the highest score of what is left, until `keep` are accepted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from pydantic import Field

import tuningfork.settings
from tuningfork.methods import about
from tuningfork.methods.selection import Uniform


class Settings(tuningfork.settings.Settings):
    """Settings of statistical rejection sampling; the defaults are the paper's."""

    beta: float = Field(default=0.5, gt=0)
    """price of KL in units of the score; less keeps only the best"""
    keep: int = Field(default=8, ge=1)
    """responses accepted of each prompt, of 64 sampled in the paper"""


def select(groups: Sequence[Sequence[float]], uniforms: Sequence[Uniform], settings: Settings) -> list[list[int]]:
    """The accepted responses of each prompt: `keep` of them, or all where there are fewer."""
    return [accept(scores, uniform, settings) for scores, uniform in zip(groups, uniforms, strict=True)]


def accept(scores: Sequence[float], uniform: Uniform, settings: Settings) -> list[int]:
    """Places accepted of one prompt's scores. Each round has at least one, since the highest score is accepted surely."""
    left = list(range(len(scores)))
    accepted: list[int] = []
    while left and len(accepted) < settings.keep:
        highest = max(scores[place] for place in left)
        taken = []
        for place in left:
            if uniform() < math.exp((scores[place] - highest) / settings.beta):
                taken.append(place)
                if len(accepted) + len(taken) == settings.keep:
                    break
        accepted += taken
        left = [place for place in left if place not in taken]
    return sorted(accepted)


ABOUT = about.About(
    title="Statistical rejection sampling",
    summary="accepts responses so that what is kept is drawn from the policy that is wanted",
    papers=("2309.06657",),
    loss="accepted with probability `exp((r - r_max) / beta)`: samples of `reference exp(r / beta)`",
    columns={"compared": "within a prompt"},
    defaults={
        "beta": "2309.06657",
        "keep": "2309.06657, of 64",
    },
)
