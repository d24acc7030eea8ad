"""SimPO: Meng et al. 2024 (2405.14734), eq. 6; log-probability a token as the reward, no reference.

loss = -logsig(beta (P_c / |c| - P_r / |r|) - gamma)

gamma is the whole margin inside the sigmoid, as in the paper; some code sets gamma / beta instead (0.5 here).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from tuningfork.batch import PairLogprobs, PreferenceNeeds
from tuningfork.methods import about, log_ratio
from tuningfork.tensors import logsigmoid

if TYPE_CHECKING:
    from torch import Tensor


class Settings(log_ratio.Settings):
    """Settings of SimPO."""

    beta: float = Field(default=2.0, gt=0)
    """Scale of the reward."""
    gamma: float = Field(default=1.0, ge=0)
    """The margin asked for (gamma, not gamma / beta)."""


def needs(settings: Settings) -> PreferenceNeeds:
    """Nothing but the policy."""
    return PreferenceNeeds()


def loss(batch: PairLogprobs, settings: Settings) -> tuple[Tensor, dict[str, Tensor]]:
    """Losses and metrics (B,); the margin is that before gamma is taken off."""
    chosen, rejected = log_ratio.average_logprobs(batch)
    margins = settings.beta * (chosen - rejected)
    return log_ratio.finish(-logsigmoid(margins - settings.gamma), margins, batch, settings)


ABOUT = about.About(
    title="SimPO",
    summary="likelihood a token is the reward, with a margin asked for; no reference",
    papers=("2405.14734",),
    loss="`-logsig(beta (P_c/|c| - P_r/|r|) - gamma)`",
    columns={"log-probabilities": "a token"},
    defaults={
        "beta": "2405.14734",
        "gamma": "2405.14734, gamma / beta 0.5",
    },
)
