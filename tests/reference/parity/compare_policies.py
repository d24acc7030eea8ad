"""Comparisons of losses of sampled responses, and trl's conventions where they are others."""

from __future__ import annotations

from typing import Any

import torch
from comparing import Comparison, Measured, golden, numbers
from responses import SameLoss, Sampled, Step, measure
from torch import Tensor

from tuningfork.batch import PolicyBatch
from tuningfork.methods import kl, shaping
from tuningfork.methods.policy import cispo, dapo, dr_grpo, grpo, gspo, rloo


def all_responses_count(sampled: Sampled, step: Step, batch: PolicyBatch, losses: Tensor) -> Tensor:
    """The mean over responses of a step where those without a score count as 0."""
    return (losses * batch.weights).sum() * float(sampled.is_scored[step.rows].double().mean())


def tokens_of_an_average_step(sampled: Sampled, step: Step, batch: PolicyBatch, losses: Tensor) -> Tensor:
    """The sum over tokens by the mean number of tokens of a step of this batch of responses, not by the step's own."""
    num_tokens = sampled.mask.sum() / len(sampled.case["steps"])
    return (losses * batch.mask).sum() / num_tokens


def mean_of_micro_batches(sampled: Sampled, step: Step, batch: PolicyBatch, losses: Tensor) -> Tensor:
    """The mean over tokens of each micro-batch, then over micro-batches."""
    means = [
        (part * mask).sum() / mask.sum()
        for part, mask in zip(losses.split(step.parts), batch.mask.split(step.parts), strict=True)
    ]
    return torch.stack(means).mean()


def entropy_of_all_tokens(sampled: Sampled, step: Step, batch: PolicyBatch, losses: Tensor) -> Tensor:
    """The bonus as a mean over tokens, whatever the average of the losses."""
    assert batch.entropy is not None
    coefficient = sampled.case["options"]["entropy_coef"]
    without = losses + coefficient * batch.entropy.masked_fill(~batch.mask, 0.0)
    return (without * batch.weights).sum() - coefficient * batch.entropy[batch.mask].mean()


def ratios_up_to_delta(sampled: Sampled, step: Step, batch: PolicyBatch, losses: Tensor) -> Tensor:
    """Where a worse response became likelier by more than delta, the loss stands still at -A delta."""
    delta = sampled.case["options"]["delta"]
    ratio = (batch.logprobs - batch.old_logprobs).exp()
    is_beyond = (batch.advantages < 0) & (ratio > delta) & batch.mask
    assert bool(is_beyond.any())
    held = (-batch.advantages * delta).where(is_beyond, losses)
    return (held * batch.weights).sum()


def k3_times_ratio(sampled: Sampled, step: Step, batch: PolicyBatch, losses: Tensor) -> Tensor:
    """k3 weighted by new over old probability, with gradient."""
    ratio, term = (batch.logprobs - batch.old_logprobs).exp(), kl.k3(*_both(batch))
    return ((losses + batch.kl_coefficient * (ratio - 1.0) * term) * batch.weights).sum()


def shown_as_k3(sampled: Sampled, step: Step, batch: PolicyBatch, losses: Tensor) -> Tensor:
    """k2's gradient and k3's value."""
    shown = (kl.k3(*_both(batch)) - kl.k2(*_both(batch))).detach()
    return ((losses + batch.kl_coefficient * shown) * batch.weights).sum()


def _both(batch: PolicyBatch) -> tuple[Tensor, Tensor]:
    assert batch.ref_logprobs is not None
    return batch.logprobs, batch.ref_logprobs


def _compare(
    name: str,
    method: str,
    trl: str,
    here: str,
    verdict: Any,
    module: Any,
    settings: dict[str, Any],
    convention: str = "",
    same: SameLoss | None = None,
) -> Comparison:
    return Comparison(
        name, method, trl, here, verdict, lambda: measure(name, module, module.Settings(**settings), same), convention
    )


NO_KL = {"kl_in": "none", "kl_estimator": None}
K3 = {"kl_in": "loss", "kl_estimator": "k3"}
IN_REWARD = {"kl_in": "reward"}
WIDE = {"clip_low": 0.2, "clip_high": 0.28, "overlong_share": None}
NO_SCORE = "a response without a score counts as 0 in its mean over responses, and not at all here"
SPLIT = "2 steps of 2 micro-batches"


def overlong() -> Measured:
    """The punishment of long responses, by length."""
    case = golden("overlong")
    ours = shaping.overlong_penalty(numbers(case["lengths"]), case["max_length"], case["buffer"])
    return Measured({"loss": (ours, numbers(case["penalties"]))}, ours)


COMPARISONS = [
    _compare("grpo", "GRPO", "GRPOTrainer, grpo, beta 0", "kl_in: none", "agrees, as set", grpo, NO_KL),
    _compare("grpo_kl", "", "beta 0.1, use_bias_correction_kl False", "kl.coefficient 0.1", "agrees", grpo, {}),
    _compare(
        "grpo_kl_corrected",
        "",
        "use_bias_correction_kl (its default)",
        "",
        "convention",
        grpo,
        {},
        "its k3 is multiplied by the ratio, gradient and all",
        k3_times_ratio,
    ),
    _compare(
        "grpo_kl_fresh",
        "",
        "the same, fresh responses",
        "kl_estimator: k2",
        "convention",
        grpo,
        {"kl_estimator": "k2"},
        "at ratio 1 the gradient of ratio * k3 is that of k2; only the value that is shown is k3's",
        shown_as_k3,
    ),
    _compare(
        "grpo_batch_scale",
        "",
        "scale_rewards batch",
        "scale: batch",
        "agrees, as set",
        grpo,
        {"scale": "batch"} | NO_KL,
    ),
    _compare("grpo_no_scale", "", "scale_rewards none", "scale: none", "agrees, as set", grpo, {"scale": "none"}),
    _compare("grpo_flat", "", "a group of one score", "", "agrees", grpo, {}),
    _compare("grpo_split", "", f"beta 0.1, {SPLIT}", "", "agrees", grpo, {}),
    _compare(
        "grpo_unscored",
        "",
        "two responses without a score",
        "",
        "convention",
        grpo,
        NO_KL,
        NO_SCORE,
        all_responses_count,
    ),
    _compare(
        "grpo_entropy",
        "",
        "entropy_coef 0.05",
        "entropy_coefficient 0.05",
        "convention",
        grpo,
        {"entropy_coefficient": 0.05} | NO_KL,
        "its entropy is a mean over tokens whatever the losses' average; here it has that average",
        entropy_of_all_tokens,
    ),
    _compare(
        "grpo_delta",
        "",
        "delta 1.3",
        "no such setting",
        "convention",
        grpo,
        NO_KL,
        "where A < 0 and the ratio is above delta its loss stands still at -A delta; here it grows on, as in the paper",
        ratios_up_to_delta,
    ),
    _compare("dr_grpo", "Dr. GRPO", "dr_grpo, scale_rewards none", "", "agrees", dr_grpo, {}),
    _compare("dr_grpo_kl", "", f"beta 0.1, {SPLIT}", "kl_in: loss, k3", "agrees, as set", dr_grpo, K3),
    _compare("dapo", "DAPO", "dapo, clip 0.2 and 0.28", "overlong_share: null", "agrees, as set", dapo, WIDE),
    _compare("dapo_kl", "", "beta 0.1", "kl_in: loss, k3", "agrees, as set", dapo, WIDE | K3),
    _compare(
        "dapo_entropy",
        "",
        "entropy_coef 0.05",
        "entropy_coefficient 0.05",
        "agrees, as set",
        dapo,
        WIDE | {"entropy_coefficient": 0.05},
    ),
    _compare(
        "dapo_split",
        "",
        SPLIT,
        "",
        "convention",
        dapo,
        WIDE,
        "divided by the tokens of a step of average size, so that a step with more tokens weighs more; here by the step's own",
        tokens_of_an_average_step,
    ),
    Comparison("overlong", "", "get_soft_overlong_punishment", "shaping.overlong_penalty", "agrees", overlong),
    _compare("bnpo", "", "bnpo, beta 0.1", "dapo, kl_in: loss, k3", "agrees, as set", dapo, WIDE | K3),
    _compare(
        "bnpo_split",
        "",
        f"bnpo, {SPLIT}",
        "dapo",
        "convention",
        dapo,
        WIDE,
        "a mean over the tokens of each micro-batch, then over micro-batches: the gradient depends on the cut; here it does not",
        mean_of_micro_batches,
    ),
    _compare(
        "cispo", "CISPO", "cispo, epsilon_high 1.2", "max_weight 1.2", "agrees, as set", cispo, {"max_weight": 1.2}
    ),
    _compare("cispo_kl", "", "beta 0.1", "kl_in: loss, k3", "agrees, as set", cispo, {"max_weight": 1.2} | K3),
    _compare("gspo", "GSPO", "grpo, importance_sampling_level sequence, clip 3e-4 and 4e-4", "", "agrees", gspo, {}),
    _compare("gspo_kl", "", f"beta 0.1, {SPLIT}", "kl_in: loss, k3", "agrees, as set", gspo, K3),
    _compare(
        "gspo_wide", "", "clip 0.2 and 0.28", "the same", "agrees, as set", gspo, {"clip_low": 0.2, "clip_high": 0.28}
    ),
    _compare("rloo", "RLOO", "RLOOTrainer, beta 0", "kl_in: none", "agrees, as set", rloo, {"kl_in": "none"}),
    _compare("rloo_kl", "", "beta 0.1", "kl.coefficient 0.1", "agrees", rloo, IN_REWARD),
    _compare("rloo_split", "", f"beta 0.1, clip 0.1, {SPLIT}", "clip_range 0.1", "agrees", rloo, {"clip_range": 0.1}),
    _compare(
        "rloo_unscored",
        "",
        "two responses without a score",
        "",
        "convention",
        rloo,
        IN_REWARD,
        NO_SCORE,
        all_responses_count,
    ),
]
