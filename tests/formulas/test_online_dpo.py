"""Online DPO: its gradient is that of DPO's loss on the best and the worst response to each prompt."""

import math
from dataclasses import replace
from typing import Any

import episodes
import pytest
import torch
from checks import Rows, close, gradient, padded, unpadded
from episodes import DATA, LENGTHS, SCORES, is_scored, members
from pydantic import ValidationError
from torch import Tensor

from tuningfork.batch import Experience, Needs, PairLogprobs
from tuningfork.methods.policy import load, online_dpo
from tuningfork.methods.preference import dpo

METHOD = load("online_dpo")
SETTINGS = online_dpo.Settings(beta=0.3)
PAIRS = [(7, 1), (4, 6), (2, 5)]
"""Best and worst row by group: 3 has scores -0.5 (row 1) and 0.75 (row 7); 5 has 1.5, 0.5; 7 has 1, 2, -1."""


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def log_ratio(row: int, of: str = "old") -> float:
    return sum(p - r for p, r in zip(DATA[of][row], DATA["ref"][row], strict=True))


def scalar_advantages(beta: float) -> Rows:
    values = [0.0] * 8
    for best, worst in PAIRS:
        slope = beta * sigmoid(-beta * (log_ratio(best) - log_ratio(worst)))
        values[best], values[worst] = slope * 7 / 3, -slope * 7 / 3
    return episodes.on_tokens(values)


def test_the_pairs_are_the_best_and_worst_that_count() -> None:
    for best, worst in PAIRS:
        group = members(best)
        assert worst in group
        assert SCORES[best] == max(SCORES[row] for row in group) and SCORES[worst] == min(SCORES[row] for row in group)
    assert is_scored(7)


def test_worked_example() -> None:
    # two responses of one token, beta 1, h = log 3: sigma(-h) = 1/4; 2 responses a pair: advantages +-1/2
    one = torch.ones(2, 1, dtype=torch.float64)
    known = Experience(
        scores=torch.tensor([5.0, 7.0], dtype=torch.float64),
        old_logprobs=-one,
        ref_logprobs=torch.tensor([[-1.0], [-1.0 - math.log(3)]], dtype=torch.float64),
        mask=one.bool(),
        groups=torch.tensor([0, 0]),
    )
    estimate, metrics = online_dpo.advantages(known, online_dpo.Settings(beta=1.0))
    close(estimate.advantages, [[-0.5], [0.5]])
    close([metrics["pairs"], metrics["preference_loss"]], [1.0, -math.log(0.75)])


def test_advantages_match_loops() -> None:
    metrics = episodes.check_advantages(METHOD, SETTINGS, scalar_advantages(0.3))
    losses = [-math.log(sigmoid(0.3 * (log_ratio(best) - log_ratio(worst)))) for best, worst in PAIRS]
    close([metrics["pairs"], metrics["preference_loss"]], [3.0, sum(losses) / 3])


def test_loss_and_gradient_match_loops() -> None:
    def losses(values: dict[str, Rows], signals: Rows) -> Rows:
        return [[-a * p for a, p in zip(signals[i], values["logprobs"][i], strict=True)] for i in range(len(LENGTHS))]

    episodes.check_loss(METHOD, SETTINGS, losses)


def test_the_gradient_is_that_of_dpo_on_the_pairs() -> None:
    of = replace(episodes.batch(METHOD, SETTINGS, 0.0), logprobs=padded(DATA["old"], 0.0))
    best, worst = (torch.tensor(rows) for rows in zip(*PAIRS, strict=True))
    lengths = torch.tensor(LENGTHS)

    def offline(x: Tensor) -> Tensor:
        sums, ref = x.sum(-1), padded(DATA["ref"], 0.0).sum(-1)
        pairs = PairLogprobs(
            chosen=sums[best],
            rejected=sums[worst],
            ref_chosen=ref[best],
            ref_rejected=ref[worst],
            chosen_lengths=lengths[best],
            rejected_lengths=lengths[worst],
        )
        return dpo.loss(pairs, dpo.Settings(beta=0.3))[0].mean()

    ours = episodes.gradient_of(METHOD, of, SETTINGS)
    close(ours, gradient(offline, of.old_logprobs) * episodes.scored_mask(), 1e-12)


def test_invariances() -> None:
    episodes.check_invariances(METHOD, SETTINGS)


def test_direction() -> None:
    of = episodes.batch(METHOD, SETTINGS)
    step = unpadded(-episodes.gradient_of(METHOD, of, SETTINGS), episodes.MASK)
    for best, worst in PAIRS:
        assert min(step[best]) > 0 > max(step[worst])
    assert not any(step[0]) and not any(step[3]), "neither the middle one nor the unscorable one moves"


def test_metrics() -> None:
    episodes.check_metrics(METHOD, SETTINGS, episodes.RATIO - {"entropy"})


def test_prompts_whose_responses_tie_make_no_pair() -> None:
    known = episodes.experience()
    assert known.groups is not None
    tied = replace(known, scores=known.scores.masked_fill(known.groups == 7, 2.0))
    estimate, metrics = online_dpo.advantages(tied, SETTINGS)
    assert metrics["pairs"] == 2.0
    assert bool((estimate.advantages[known.groups == 7] == 0).all())
    nothing = replace(known, scores=torch.zeros(8, dtype=torch.float64))
    estimate, metrics = online_dpo.advantages(nothing, SETTINGS)
    assert metrics == {"pairs": 0.0, "preference_loss": 0.0} and bool((estimate.advantages == 0).all())


def test_missing_parts_are_named() -> None:
    for field in ("groups", "ref_logprobs"):
        with pytest.raises(AssertionError, match="groups and a reference"):
            online_dpo.advantages(replace(episodes.experience(), **{field: None}), SETTINGS)


def test_needs_and_defaults() -> None:
    assert online_dpo.needs(SETTINGS) == Needs(reference=True, groups=True, on_policy=True)
    assert online_dpo.Settings().model_dump() == {"beta": 0.1}
    assert METHOD.average == "sequence_sum"


@pytest.mark.parametrize("values", [{"beta": 0.0}, {"beta": -1.0}, {"clip_range": 0.2}])
def test_settings_refuse_what_makes_no_sense(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        online_dpo.Settings.model_validate(values)
