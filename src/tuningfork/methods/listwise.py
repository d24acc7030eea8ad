"""Scores from rankings of K responses to one prompt, as one choice after another.

    Plackett-Luce   -mean_i [r_i - logsumexp of r_i and of all r_j placed below i],   over i with something below
    pick best       -[logsumexp of r over the best - logsumexp of r over all]
    either          + c (2 mean r)^2,   which for K = 2 is the centring of `pairwise`
Plackett-Luce: Plackett 1975; as a reward loss of rankings Zhu et al. 2023 (2301.11270), eq. 4. Pick best: Ziegler et al. 2019
(1909.08593), eq. 1. Responses that share a place are not compared with each other; for K = 2 both are Bradley-Terry.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tuningfork.methods.pairwise import Settings

if TYPE_CHECKING:
    from torch import Tensor


def ranking_loss(
    scores: Tensor, places: Tensor, present: Tensor, settings: Settings
) -> tuple[Tensor, dict[str, Tensor]]:
    """Losses (B,) of scores (B, K) against places (B, K), 1 best, and metrics (B,): loss, accuracy.

    present (B, K) bool: prompts may have different K, at least 1. A row whose responses all share one place is 0 and
    teaches nothing.
    Accuracy is the share of ordered pairs in the right order, ties of scores half.
    """
    below = (places[:, None, :] > places[:, :, None]) & _both(present)  # (B, K, K): j is placed below i
    if settings.form == "plackett_luce":
        losses = _plackett_luce(scores, below)
    else:
        losses = _pick_best(scores, places, present)
    centre = 2.0 * scores.masked_fill(~present, 0.0).sum(1) / present.sum(1)
    losses = losses + settings.centring * centre.square()
    order = (scores.detach()[:, :, None] - scores.detach()[:, None, :]).sign()
    num_pairs = below.sum((1, 2)).clamp(min=1)
    accuracy = ((order + 1.0) / 2.0).masked_fill(~below, 0.0).sum((1, 2)) / num_pairs
    return losses, {"loss": losses.detach(), "accuracy": accuracy}


def _plackett_luce(scores: Tensor, below: Tensor) -> Tensor:
    has_rival = below.any(2)  # (B, K)
    # logsumexp of nothing is -inf and its gradient no number: there something stands in, and is masked afterwards
    rivals = scores[:, None, :].masked_fill(~below & has_rival[..., None], float("-inf")).logsumexp(2)
    stages = (scores.logaddexp(rivals) - scores).masked_fill(~has_rival, 0.0)
    return stages.sum(1) / has_rival.sum(1).clamp(min=1)


def _pick_best(scores: Tensor, places: Tensor, present: Tensor) -> Tensor:
    first = places.masked_fill(~present, float("inf")).amin(1, keepdim=True)
    best = (places == first) & present
    whole = scores.masked_fill(~present, float("-inf")).logsumexp(1)
    return whole - scores.masked_fill(~best, float("-inf")).logsumexp(1)


def _both(present: Tensor) -> Tensor:
    return present[:, :, None] & present[:, None, :]
