"""RPO, DPO with the likelihood of the chosen response: Pang et al. 2024 (2404.19733), eq. 1.

loss = -logsig(beta h) - alpha P_c / |c|

DPO fixes the difference of two likelihoods only, so both may fall; the second term keeps the chosen one up.
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
    """Settings of RPO."""

    beta: float = Field(default=0.1, gt=0)
    """How strongly the policy is held to the reference; smaller lets it go further."""
    nll_coefficient: float = Field(default=1.0, gt=0)
    """Weight of the chosen response's negative log-likelihood a token (alpha)."""


def needs(settings: Settings) -> PreferenceNeeds:
    """The reference."""
    return PreferenceNeeds(reference=True)


def loss(batch: PairLogprobs, settings: Settings) -> tuple[Tensor, dict[str, Tensor]]:
    """Losses and metrics (B,)."""
    margins = settings.beta * log_ratio.difference(batch)
    return log_ratio.finish(-logsigmoid(margins), margins, batch, settings)


start_loss = log_ratio.log_2

ABOUT = about.About(
    title="RPO",
    summary="DPO that also keeps the chosen response likely",
    papers=("2404.19733",),
    loss="`-logsig(beta h) - alpha P_c/|c|`",
    columns={"log-probabilities": "sum, and a token in the second term"},
    defaults={
        "beta": "2305.18290",
        "nll_coefficient": "2404.19733",
    },
)
