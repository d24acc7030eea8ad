"""Scores from judgements: which of two texts is better (Bradley-Terry), or whether one text is good (logistic).

    pair    -(1 - e) logsig(d - m) - e logsig(-d - m) + c (chosen + rejected)^2,     d = chosen - rejected
    label   -y logsig(s + o) - (1 - y) logsig(-s - o)
K-wise ranking is the pair loss over all pairs of a prompt's K responses, each weighing 1 / C(K, 2) (see `pair_weights`).
The offset o is the log odds of a good text among those learnt from, so that a score of 0 says no more than they do.
The margin m is how much better the chosen text was rated (Touvron et al. 2023, 2307.09288, eq. 2): it is SUBTRACTED,
so a score difference must exceed it. e is the share of flipped labels; a flipped pair has its margin the other way.
c keeps the scores, which pairs fix only up to a constant, near 0 (Eisenstein et al. 2023, 2312.09244).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

import tuningfork.settings
from tuningfork.tensors import logsigmoid

if TYPE_CHECKING:
    from torch import Tensor


class Settings(tuningfork.settings.Settings):
    """How a scorer learns from comparisons."""

    form: Literal["k_wise", "pairs", "plackett_luce", "pick_best"] = "k_wise"
    """What counts as one element: `k_wise`, all pairs of a prompt's answers together, so that an answer is read once an epoch;
    `pairs`, each pair by itself. `plackett_luce` learns the whole ranking, `pick_best` only which answer is best. They
    differ where more than two answers were compared."""

    label_smoothing: float = Field(default=0.0, ge=0, lt=0.5)
    """Share of pairs believed to be labelled the wrong way round."""

    centring: float = Field(default=0.0, ge=0)
    """Strength of the pull of scores towards 0; 0.01 is usual."""

    @model_validator(mode="after")
    def _every_setting_has_an_effect(self) -> Self:
        if self.label_smoothing and self.form in ("plackett_luce", "pick_best"):
            raise ValueError(f"label_smoothing is about pairs and has no effect on {self.form}; remove it")
        return self


def pair_loss(
    chosen: Tensor, rejected: Tensor, margins: Tensor, settings: Settings
) -> tuple[Tensor, dict[str, Tensor]]:
    """Losses (B,) of scores of chosen and rejected texts (B,), and metrics (B,): loss, accuracy, score difference.

    Accuracy is measured at difference 0 whatever the margin; a tie counts half.
    """
    difference = chosen - rejected
    smoothing = settings.label_smoothing
    right, flipped = logsigmoid(difference - margins), logsigmoid(-difference - margins)
    likelihood = (1.0 - smoothing) * right + smoothing * flipped
    losses = settings.centring * (chosen + rejected).square() - likelihood
    accuracy = (difference.detach().sign() + 1.0) / 2.0
    return losses, {"loss": losses.detach(), "accuracy": accuracy, "score_difference": difference.detach()}


def label_loss(scores: Tensor, labels: Tensor, offset: float = 0.0) -> tuple[Tensor, dict[str, Tensor]]:
    """Binary cross-entropy (B,) of scores (B,) against labels (B,) in [0, 1], and metrics (B,): loss, accuracy.

    A label of 1/2 and a score of 0 say nothing either way: they count half in the accuracy.
    """
    logits = scores + offset
    losses = -labels * logsigmoid(logits) - (1.0 - labels) * logsigmoid(-logits)
    agreement = scores.detach().sign() * (labels - 0.5).sign()
    return losses, {"loss": losses.detach(), "accuracy": (agreement + 1.0) / 2.0}


def pair_weights(weights: Tensor, prompts: Tensor | None = None) -> Tensor:
    """Weights (B,) of pairs, or labelled texts, made to sum to 1 over the optimizer step.

    With `prompts` (B,), equal numbers for pairs of one prompt, each PROMPT counts the same however many of its K
    responses were compared: 1 / C(K, 2) for each pair (Ouyang et al. 2022, 2203.02155, eq. 1).
    """
    if prompts is None:
        return weights / weights.sum()
    _, prompt_of_pair = prompts.unique(return_inverse=True)
    totals = weights.new_zeros(int(prompt_of_pair.max()) + 1).index_add(0, prompt_of_pair, weights)
    return weights / totals[prompt_of_pair] / len(totals)
