"""Comparisons of losses of pairs, single responses and scores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from comparing import TOLERANCE, Comparison, Measured, differentiated, golden, numbers
from torch import Tensor

from tuningfork.batch import PairLogprobs, TextLogprobs
from tuningfork.methods import pairwise
from tuningfork.methods.preference import cdpo, dpo, hinge, ipo, kto, orpo, robust_dpo, rpo, simpo, slic
from tuningfork.tensors import token_logprobs

LossOf = Callable[[Tensor, Tensor], Tensor]
"""From log-probabilities of tokens and the mask of responses (2B, T), chosen ones first, to a loss."""


def as_pairs(logprobs: Tensor, mask: Tensor, reference: Tensor | None) -> PairLogprobs:
    """Pairs from log-probabilities of tokens (2B, T), chosen ones first, as trl has them."""
    chosen, rejected = logprobs.masked_fill(~mask, 0.0).sum(-1).chunk(2)
    lengths = mask.sum(-1).chunk(2)
    refs = (None, None) if reference is None else reference.masked_fill(~mask, 0.0).sum(-1).chunk(2)
    return PairLogprobs(
        chosen=chosen,
        rejected=rejected,
        chosen_lengths=lengths[0],
        rejected_lengths=lengths[1],
        ref_chosen=refs[0],
        ref_rejected=refs[1],
    )


def method_loss(method: Any, case: dict[str, Any], settings: Any) -> LossOf:
    """The mean over pairs of a preference method's loss."""
    reference = numbers(case["ref_logprobs"]) if "ref_logprobs" in case else None

    def loss(logprobs: Tensor, mask: Tensor) -> Tensor:
        return method.loss(as_pairs(logprobs, mask, reference), settings)[0].mean()

    return loss


def measure(name: str, own: LossOf, same: LossOf | None = None) -> Measured:
    """Own loss, and that with trl's convention (`same`), beside trl's loss and gradient at what it was given."""
    case = golden("pairs")[name]
    ids, mask = torch.tensor(case["ids"]), torch.tensor(case["completion"]).bool()[:, 1:]
    theirs = numbers(case["gradient"])
    if "logits" in case:
        values = numbers(case["logits"])

        def logprobs_of(logits: Tensor) -> Tensor:
            return token_logprobs(logits[:, :-1], ids[:, 1:])
    else:
        values, theirs = numbers(case["logprobs"]), theirs.masked_fill(~mask, 0.0)  # the rest is no output of the model

        def logprobs_of(logits: Tensor) -> Tensor:
            return logits

    loss, slopes = differentiated(values, lambda x: (same or own)(logprobs_of(x), mask))
    return Measured(
        {"loss": (loss[None], numbers([case["loss"]])), "gradient": (slopes, theirs)},
        own(logprobs_of(values), mask)[None],
    )


def nll_of_all_tokens(logprobs: Tensor, mask: Tensor) -> Tensor:
    """Negative log-likelihood of the chosen responses, every TOKEN of the batch counting the same: trl's."""
    chosen = mask.clone()
    chosen[len(mask) // 2 :] = False
    return -logprobs[chosen].mean()


def with_nll_of_tokens(base: LossOf, weight: float) -> LossOf:
    """A loss with the likelihood term added that trl adds."""
    return lambda logprobs, mask: base(logprobs, mask) + weight * nll_of_all_tokens(logprobs, mask)


def _of(method: Any, name: str, settings: Any) -> Callable[[], Measured]:
    return lambda: measure(name, method_loss(method, golden("pairs")[name], settings))


def _cdpo() -> Measured:
    """trl's DPO of the pairs and of the swapped pairs make cDPO's loss: both are taken as trl has them."""
    pairs, settings = golden("pairs"), cdpo.Settings(beta=0.3, label_smoothing=0.2)
    straight, swapped = pairs["dpo"], pairs["dpo_swapped"]
    mask = torch.tensor(straight["completion"]).bool()[:, 1:]
    loss, slopes = differentiated(
        numbers(straight["logprobs"]), lambda x: method_loss(cdpo, straight, settings)(x, mask)
    )
    theirs = 0.8 * straight["loss"] + 0.2 * swapped["loss"]
    rejected, chosen = numbers(swapped["gradient"]).chunk(2)
    gradient = (0.8 * numbers(straight["gradient"]) + 0.2 * torch.cat([chosen, rejected])).masked_fill(~mask, 0.0)
    return Measured({"loss": (loss[None], numbers([theirs])), "gradient": (slopes, gradient)}, loss[None])


def _smoothed() -> Measured:
    case = golden("pairs")["dpo_smoothed"]
    own = method_loss(cdpo, case, cdpo.Settings(beta=0.3, label_smoothing=0.2))
    return measure("dpo_smoothed", own, method_loss(dpo, case, dpo.Settings(beta=0.3)))


def _rpo() -> Measured:
    case = golden("pairs")["rpo"]
    own = method_loss(rpo, case, rpo.Settings(beta=0.3, nll_coefficient=0.7))
    return measure("rpo", own, with_nll_of_tokens(method_loss(dpo, case, dpo.Settings(beta=0.3)), 0.7))


def _simpo_nll() -> Measured:
    case = golden("pairs")["simpo_nll"]
    own = method_loss(simpo, case, simpo.Settings(beta=2.0, gamma=1.2, nll_coefficient=0.5))
    base = method_loss(simpo, case, simpo.Settings(beta=2.0, gamma=1.2))
    return measure("simpo_nll", own, with_nll_of_tokens(base, 0.5))


def _cpo_hinge() -> Measured:
    """beta max(0, 1/beta - d) is max(0, 1 - beta d)."""
    own = method_loss(slic, golden("pairs")["cpo_hinge"], slic.Settings(delta=2.5, regulariser=0.0))
    return measure("cpo_hinge", own, lambda logprobs, mask: 0.4 * own(logprobs, mask))


def _orpo() -> Measured:
    """The odds ratio from here, and the likelihood of prompt and chosen response as trl averages it."""
    case = golden("pairs")["orpo"]
    own = method_loss(orpo, case, orpo.Settings(odds_coefficient=0.25))
    nll = method_loss(orpo, case, orpo.Settings(odds_coefficient=0.0))
    predicted = torch.tensor(case["attention"]).bool()[:, 1:]

    def same(logprobs: Tensor, mask: Tensor) -> Tensor:
        return own(logprobs, mask) - nll(logprobs, mask) + nll_of_all_tokens(logprobs, predicted)

    return measure("orpo", own, same)


def _kto(name: str) -> Measured:
    case = golden("feedback")[name]
    options = case["options"]
    settings = kto.Settings(**options)
    mask, others = (torch.tensor(case[key]).bool()[:, 1:] for key in ("completion", "other_completion"))
    estimate = (numbers(case["other_logprobs"]) - numbers(case["other_ref_logprobs"])).masked_fill(~others, 0.0)
    kl = float(estimate.sum(-1).mean())
    assert abs(max(0.0, kl) - case["kl"]) < TOLERANCE and kl != 0.0

    def loss(logprobs: Tensor) -> Tensor:
        known = TextLogprobs(
            logprobs=logprobs.masked_fill(~mask, 0.0).sum(-1),
            ref_logprobs=numbers(case["ref_logprobs"]).masked_fill(~mask, 0.0).sum(-1),
            is_desirable=torch.tensor(case["labels"]).bool(),
            kl=kl,
        )
        return kto.loss(known, settings)[0].mean()

    value, slopes = differentiated(numbers(case["logprobs"]), loss)
    theirs = numbers(case["gradient"]).masked_fill(~mask, 0.0)
    return Measured({"loss": (value[None], numbers([case["loss"]])), "gradient": (slopes, theirs)}, value[None])


def _reward(name: str) -> Measured:
    case = golden("rewards")[name]
    settings = pairwise.Settings(centring=case["options"].get("center_rewards_coefficient", 0.0))

    def loss(scores: Tensor) -> Tensor:
        chosen, rejected = scores.chunk(2)
        losses, _ = pairwise.pair_loss(chosen, rejected, numbers(case["margins"]), settings)
        return (losses * pairwise.pair_weights(torch.ones_like(chosen))).sum()

    value, slopes = differentiated(numbers(case["scores"]), loss)
    theirs = numbers(case["gradient"])
    return Measured({"loss": (value[None], numbers([case["loss"]])), "gradient": (slopes, theirs)}, value[None])


TOKEN_MEAN = (
    "the likelihood is a mean over all tokens of the batch there, over each response and then over responses here"
)
COMPARISONS = [
    Comparison("reward", "reward model", "RewardTrainer", "", "agrees", lambda: _reward("reward")),
    Comparison("reward_margin", "", "with margins", "margins", "agrees", lambda: _reward("reward_margin")),
    Comparison(
        "reward_centred",
        "",
        "center_rewards_coefficient 0.05",
        "centring 0.05",
        "agrees",
        lambda: _reward("reward_centred"),
    ),
    Comparison("reward_both", "", "both", "both", "agrees", lambda: _reward("reward_both")),
    Comparison("dpo", "DPO", "DPOTrainer, sigmoid, beta 0.3", "", "agrees", _of(dpo, "dpo", dpo.Settings(beta=0.3))),
    Comparison(
        "dpo_smoothed",
        "cDPO",
        "DPOTrainer, sigmoid, label_smoothing 0.2",
        "label_smoothing 0.2",
        "convention",
        _smoothed,
        "label_smoothing has no part in its sigmoid loss (its docs name robust and exo_pair): the value is DPO's",
    ),
    Comparison(
        "cdpo",
        "",
        "0.8 of DPO's loss + 0.2 of that on swapped pairs, both by DPOTrainer",
        "label_smoothing 0.2",
        "agrees",
        _cdpo,
    ),
    Comparison(
        "robust",
        "robust DPO",
        "DPOTrainer, robust, label_smoothing 0.2",
        "label_smoothing 0.2",
        "agrees",
        _of(robust_dpo, "robust", robust_dpo.Settings(beta=0.3, label_smoothing=0.2)),
    ),
    Comparison(
        "ipo", "IPO", "DPOTrainer, ipo, beta 0.4", "normalise: tokens", "agrees", _of(ipo, "ipo", ipo.Settings(tau=0.4))
    ),
    Comparison(
        "hinge", "hinge", "DPOTrainer, hinge, beta 0.6", "", "agrees", _of(hinge, "hinge", hinge.Settings(beta=0.6))
    ),
    Comparison("rpo", "RPO", "DPOTrainer, sigmoid + 0.7 sft", "", "convention", _rpo, TOKEN_MEAN),
    Comparison(
        "rpo_equal",
        "",
        "the same, chosen responses of one length",
        "",
        "agrees",
        _of(rpo, "rpo_equal", rpo.Settings(beta=0.3, nll_coefficient=0.7)),
    ),
    Comparison(
        "simpo",
        "SimPO",
        "CPOTrainer, simpo, beta 2, simpo_gamma 1.2, cpo_alpha 0",
        "gamma 1.2: the whole margin in both",
        "agrees, as set",
        _of(simpo, "simpo", simpo.Settings(beta=2.0, gamma=1.2)),
    ),
    Comparison(
        "simpo_nll", "", "cpo_alpha 0.5 (1 if not set)", "nll_coefficient 0.5", "convention", _simpo_nll, TOKEN_MEAN
    ),
    Comparison(
        "simpo_nll_equal",
        "",
        "the same, chosen responses of one length",
        "nll_coefficient 0.5",
        "agrees",
        _of(simpo, "simpo_nll_equal", simpo.Settings(beta=2.0, gamma=1.2, nll_coefficient=0.5)),
    ),
    Comparison(
        "cpo_hinge",
        "SLiC-HF",
        "CPOTrainer, hinge, beta 0.4, cpo_alpha 0",
        "delta 1 / 0.4, regulariser 0",
        "convention",
        _cpo_hinge,
        "trl's is beta times this one: max(0, 1 - beta d) = beta max(0, 1 / beta - d)",
    ),
    Comparison(
        "orpo",
        "ORPO",
        "ORPOTrainer, beta 0.25",
        "odds_coefficient 0.25",
        "convention",
        _orpo,
        "its likelihood is of prompt and chosen response, all tokens of the batch alike; here of responses, each alike",
    ),
    Comparison(
        "orpo_equal",
        "",
        "the same, prompts of one token (which nothing predicts), chosen responses of one length",
        "odds_coefficient 0.25",
        "agrees",
        _of(orpo, "orpo_equal", orpo.Settings(odds_coefficient=0.25)),
    ),
    Comparison(
        "kto_other_way",
        "KTO",
        "KTOTrainer, beta 0.4, weights 1.3 and 0.8; z is 0.63",
        "z of the same texts",
        "agrees, as set",
        lambda: _kto("kto_other_way"),
    ),
    Comparison("kto", "", "the estimate of z is below 0: held at 0", "", "agrees, as set", lambda: _kto("kto")),
    Comparison("kto_one_kind", "", "desirable ones only", "", "agrees, as set", lambda: _kto("kto_one_kind")),
]
