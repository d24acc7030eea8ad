"""Filters by hand values, and draws against the distribution they should follow."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from tuningfork.randomness import uniforms
from tuningfork.rollout.sampling import choose_tokens, sampling_logprobs
from tuningfork.rollout.settings import SamplingSettings

PROBABILITIES = [0.5, 0.3, 0.15, 0.05]


def settings(**options) -> SamplingSettings:
    return SamplingSettings(max_new_tokens=1, **options)


def distribution(**options) -> list[float]:
    return sampling_logprobs(torch.tensor([PROBABILITIES]).log(), settings(**options)).exp()[0].tolist()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [0.5, 0.3, 0.15, 0.05]),
        # squares: .25, .09, .0225, .0025, sum .365
        ({"temperature": 0.5}, [0.25 / 0.365, 0.09 / 0.365, 0.0225 / 0.365, 0.0025 / 0.365]),
        ({"top_k": 2}, [0.625, 0.375, 0, 0]),
        ({"top_k": 9}, [0.5, 0.3, 0.15, 0.05]),
        # .5 + .3 reaches .8, so the third token is outside; .81 needs it
        ({"top_p": 0.79}, [0.625, 0.375, 0, 0]),
        ({"top_p": 0.81}, [0.5 / 0.95, 0.3 / 0.95, 0.15 / 0.95, 0]),
        ({"top_p": 0.01}, [1, 0, 0, 0]),
        ({"floor": 0.2}, [0.625, 0.375, 0, 0]),
        ({"floor": 0.9}, [1, 0, 0, 0]),
        # the floor looks at .05 before the temperature makes .16 of it: sqrt(.5), sqrt(.3), sqrt(.15)
        ({"floor": 0.1, "temperature": 2.0}, [0.70711 / 1.64213, 0.54772 / 1.64213, 0.38730 / 1.64213, 0]),
        # top_p looks at the tempered distribution: .685 alone does not reach .7, with .247 it does
        ({"temperature": 0.5, "top_p": 0.7}, [0.25 / 0.34, 0.09 / 0.34, 0, 0]),
    ],
)
def test_filters_by_hand(options: dict, expected: list[float]) -> None:
    assert distribution(**options) == pytest.approx(expected, abs=1e-4)


def test_filters_do_not_depend_on_the_order_of_the_vocabulary() -> None:
    order = torch.tensor([2, 0, 3, 1])
    logits = torch.tensor([PROBABILITIES]).log()
    wanted = sampling_logprobs(logits, settings(top_p=0.81))[:, order]
    assert torch.allclose(sampling_logprobs(logits[:, order], settings(top_p=0.81)), wanted)


@pytest.mark.parametrize("options", [{}, {"temperature": 2.0}, {"temperature": 1.5, "top_p": 0.9, "floor": 0.001}])
def test_frequencies_follow_the_distribution(options: dict) -> None:
    logits = torch.randn(1, 40, generator=torch.Generator().manual_seed(1)) * 2
    draws = torch.from_numpy(uniforms(np.arange(50_000), 3))
    tokens, _ = choose_tokens(logits.expand(50_000, -1), draws, settings(**options))
    expected = sampling_logprobs(logits, settings(**options))[0].exp().double()
    counts = torch.bincount(tokens, minlength=40)
    assert counts[expected == 0].sum() == 0
    is_possible = expected > 0
    wanted = (expected[is_possible] / expected.sum() * 50_000).numpy()
    assert chisquare(counts[is_possible].numpy(), wanted).pvalue > 0.01


def test_logprobs_are_those_of_the_distribution_drawn_from() -> None:
    logits = torch.tensor([PROBABILITIES]).log()
    tokens, logprobs = choose_tokens(logits, torch.tensor([0.7], dtype=torch.float64), settings(top_k=2))
    assert tokens.tolist() == [1]  # .625 <= .7
    assert logprobs.tolist() == pytest.approx([math.log(0.375)], abs=1e-6)


def test_the_ends_of_the_unit_interval_never_meet_a_dropped_token() -> None:
    logits = torch.tensor([[-math.inf, 2.0, 1.0, -math.inf]])
    almost_one = math.nextafter(1.0, 0.0)
    for uniform, token in ((0.0, 1), (almost_one, 2)):
        chosen, logprobs = choose_tokens(logits, torch.tensor([uniform], dtype=torch.float64), settings())
        assert chosen.tolist() == [token]
        assert torch.isfinite(logprobs).all()


def test_rare_tokens_of_a_large_vocabulary_are_drawn() -> None:
    """One token has half of the mass; fp32 sums of the 2^17 small rest would drift by more than a token's share."""
    vocabulary = 1 << 17
    logits = torch.zeros(1, vocabulary)
    logits[0, 0] = math.log(vocabulary - 1)
    share = 0.5 / (vocabulary - 1)
    wanted = torch.tensor([1, 70_000, vocabulary - 1])
    draws = 0.5 + (wanted.double() - 0.5) * share
    tokens, _ = choose_tokens(logits.expand(3, -1), draws, settings())
    assert (tokens - wanted).abs().max() <= 1


def test_greedy_is_certain() -> None:
    tokens, logprobs = choose_tokens(torch.tensor([[1.0, 3.0, 2.0]]), torch.zeros(1), settings(greedy=True))
    assert tokens.tolist() == [1]
    assert logprobs.tolist() == [0.0]


@pytest.mark.parametrize("greedy", [True, False])
def test_nan_logits_show_in_the_logprob(greedy: bool) -> None:
    logits = torch.tensor([[math.nan, 1.0], [0.0, 1.0]])
    _, logprobs = choose_tokens(logits, torch.tensor([0.5, 0.5]), settings(greedy=greedy))
    assert torch.isnan(logprobs).tolist() == [True, False]


@pytest.mark.parametrize("options", [{"temperature": 0.7}, {"top_k": 5}, {"top_p": 0.9}, {"floor": 0.1}])
def test_greedy_with_a_setting_it_would_ignore_is_an_error(options: dict) -> None:
    with pytest.raises(ValueError, match="greedy"):
        settings(greedy=True, **options)


def test_temperature_leaves_certain_rows_alone() -> None:
    logits = torch.tensor([[6.0, 0.0, 0.0], [1.0, 0.5, 0.0]])  # entropies .04 and 1.02 nats
    settings = SamplingSettings(max_new_tokens=1, temperature=3.0, least_entropy=0.5)
    found = sampling_logprobs(logits, settings)
    assert torch.allclose(found[0], logits[0].log_softmax(-1))
    assert torch.allclose(found[1], (logits[1] / 3.0).log_softmax(-1))


def test_least_entropy_without_a_temperature_is_refused() -> None:
    with pytest.raises(ValueError, match="no effect at temperature 1"):
        SamplingSettings(max_new_tokens=1, least_entropy=0.5)


def test_filters_are_what_samples_another_distribution() -> None:
    assert SamplingSettings(max_new_tokens=1, temperature=0.5).filters == []
    options = {"top_k": 5, "top_p": 0.9, "floor": 0.01, "temperature": 2.0, "least_entropy": 0.1}
    assert SamplingSettings(max_new_tokens=1, **options).filters == ["top_k", "top_p", "floor", "least_entropy"]
