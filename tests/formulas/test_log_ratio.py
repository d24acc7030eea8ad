"""Log-ratios of pairs against plain floats, and what is reported of them."""

from dataclasses import replace

import pairs
import pytest
import torch
from checks import close
from pydantic import ValidationError

from tuningfork.methods import log_ratio


def test_differences_match_loops() -> None:
    plain = pairs.scalar_pairs(pairs.POLICY)
    close(log_ratio.difference(pairs.pairs()), [pair.h for pair in plain])
    a_token = [
        (pair.p_chosen - pair.r_chosen) / pair.chosen - (pair.p_rejected - pair.r_rejected) / pair.rejected
        for pair in plain
    ]
    close(log_ratio.difference_a_token(pairs.pairs()), a_token)
    chosen, rejected = log_ratio.average_logprobs(pairs.pairs())
    close(chosen, [pair.p_chosen / pair.chosen for pair in plain])
    close(rejected, [pair.p_rejected / pair.rejected for pair in plain])


def test_metrics_of_pairs() -> None:
    live = torch.tensor([2.0, 0.0, -1.0], requires_grad=True)
    found = log_ratio.pair_metrics(live * 2, live)
    assert not any(metric.requires_grad for metric in found.values())
    close(found["preference_loss"], [4.0, 0.0, -2.0])
    close(found["margin"], [2.0, 0.0, -1.0])
    close(found["accuracy"], [1.0, 0.5, 0.0])


def test_the_likelihood_term() -> None:
    of, losses = pairs.pairs(), torch.ones(4, dtype=torch.float64)
    plain, metrics = log_ratio.finish(losses, losses, of, log_ratio.Settings())
    close(plain, losses)
    assert "chosen_nll" not in metrics
    with_it, metrics = log_ratio.finish(losses, losses, of, log_ratio.Settings(nll_coefficient=0.5))
    nll = [-pair.p_chosen / pair.chosen for pair in pairs.scalar_pairs(pairs.POLICY)]
    close(with_it, [1 + 0.5 * x for x in nll])
    close(metrics["chosen_nll"], nll)
    close(metrics["preference_loss"], losses)
    live = replace(of, chosen=of.chosen.clone().requires_grad_())
    total, metrics = log_ratio.finish(losses, losses, live, log_ratio.Settings(nll_coefficient=0.5))
    assert total.requires_grad and not metrics["chosen_nll"].requires_grad


def test_a_missing_reference_is_named() -> None:
    for field in ("ref_chosen", "ref_rejected"):
        with pytest.raises(AssertionError, match="needs a reference"):
            log_ratio.difference(replace(pairs.pairs(), **{field: None}))


def test_settings() -> None:
    assert log_ratio.Settings().nll_coefficient == 0.0
    with pytest.raises(ValidationError):
        log_ratio.Settings(nll_coefficient=-0.1)
