"""REINFORCE against plain loops: reward-to-go, four baselines, and the ratio it does not have."""

from dataclasses import replace
from typing import Any

import episodes
import pytest
import torch
from checks import Rows, close, gradient, mask_of
from episodes import LENGTHS, SCORES, is_scored, scalar_rewards
from pydantic import ValidationError

from tuningfork.batch import Experience, Needs, PolicyBatch
from tuningfork.methods.policy import load, reinforce

METHOD = load("reinforce")
EVERYTHING = reinforce.Settings(baseline="batch", gamma=0.9, entropy_coefficient=0.05, kl_in="loss", kl_estimator="k3")


def scalar_advantages(settings: reinforce.Settings) -> Rows:
    rewards = scalar_rewards(settings.kl_in)
    sums = [sum(row) for index, row in enumerate(rewards) if is_scored(index)]
    given = SCORES[::-1]
    found = []
    for index, row in enumerate(rewards):
        baseline = {"none": 0.0, "batch": sum(sums) / len(sums)}.get(settings.baseline, given[index])
        found.append(
            [sum(settings.gamma**k * later for k, later in enumerate(row[t:])) - baseline for t in range(len(row))]
        )
    return found


def scalar_loss(settings: reinforce.Settings) -> Any:
    def losses(values: dict[str, Rows], signals: Rows) -> Rows:
        return [
            [
                -signals[i][t] * values["logprobs"][i][t] + episodes.scalar_terms(i, t, values, settings)
                for t in range(length)
            ]
            for i, length in enumerate(LENGTHS)
        ]

    return losses


def test_worked_example() -> None:
    # rewards -0.1 * (0.5, -0.5) + (0, 2) = (-0.05, 2.05); gamma 0.5: G = (-0.05 + 1.025, 2.05); b = 1: A = (-0.025, 1.05)
    settings = reinforce.Settings(baseline="greedy", gamma=0.5)
    one = torch.ones(1, 1, dtype=torch.float64)
    known = Experience(
        scores=2 * one[0],
        old_logprobs=torch.tensor([[-1.0, -2.0]], dtype=torch.float64),
        ref_logprobs=torch.tensor([[-1.5, -1.5]], dtype=torch.float64),
        mask=mask_of([2]),
        baselines=one[0],
        kl_coefficient=0.1,
    )
    estimate, metrics = reinforce.advantages(known, settings)
    close(estimate.advantages, [[-0.025, 1.05]])
    close([metrics["return_mean"], metrics["baseline_mean"]], [2.0, 1.0])
    # loss -(-0.025 * -1 + 1.05 * -2) = 2.075
    of = PolicyBatch(
        logprobs=known.old_logprobs,
        old_logprobs=known.old_logprobs,
        advantages=estimate.advantages,
        mask=known.mask,
        weights=torch.ones(1, 2),
    )
    losses, _ = reinforce.token_loss(of, settings)
    close(losses, [[-0.025, 2.1]])


@pytest.mark.parametrize("baseline", ["none", "moving_average", "batch", "greedy"])
@pytest.mark.parametrize("kl_in", ["reward", "none"])
@pytest.mark.parametrize("gamma", [1.0, 0.8])
def test_advantages_match_loops(baseline: Any, kl_in: Any, gamma: float) -> None:
    settings = reinforce.Settings(baseline=baseline, kl_in=kl_in, gamma=gamma)
    metrics = episodes.check_advantages(METHOD, settings, scalar_advantages(settings))
    sums = [sum(row) for index, row in enumerate(scalar_rewards(kl_in)) if is_scored(index)]
    close(metrics["return_mean"], sum(sums) / 7)
    given = [SCORES[::-1][row] for row in range(8) if is_scored(row)]
    expected = {"none": 0.0, "batch": sum(sums) / 7}.get(baseline, sum(given) / 7)
    close(metrics["baseline_mean"], expected)


@pytest.mark.parametrize("changes", [{}, {"kl_estimator": "k2"}, {"kl_in": "none", "kl_estimator": None}])
def test_loss_and_gradient_match_loops(changes: dict[str, Any]) -> None:
    settings = reinforce.Settings.model_validate(EVERYTHING.model_dump(exclude={"decay"}) | changes)
    episodes.check_loss(METHOD, settings, scalar_loss(settings), ("logprobs", "entropy"))


def test_invariances() -> None:
    episodes.check_invariances(METHOD, EVERYTHING)


def test_direction() -> None:
    episodes.check_direction(METHOD, reinforce.Settings(baseline="batch", kl_in="none"))


def test_metrics() -> None:
    episodes.check_metrics(METHOD, EVERYTHING, episodes.RATIO | {"kl_clamp_fraction"})


def test_without_discount_the_first_token_has_the_whole_return() -> None:
    settings = reinforce.Settings(baseline="none")
    estimate, _ = reinforce.advantages(episodes.experience(0.0), settings)
    rewards = scalar_rewards("reward")
    close(estimate.advantages[:, 0], [sum(row) for row in rewards])


def test_a_shift_of_scores_and_baseline_changes_nothing() -> None:
    known = episodes.experience(0.0)
    assert known.baselines is not None
    settings = reinforce.Settings(baseline="greedy")
    moved = replace(known, scores=known.scores + 5, baselines=known.baselines + 5)
    close(reinforce.advantages(moved, settings)[0].advantages, reinforce.advantages(known, settings)[0].advantages)


def test_the_batch_mean_shrinks_the_advantage_by_its_own_share() -> None:
    """r - mean = (n - 1) / n (r - mean of the others), so the gradient is that much smaller than with leave-one-out."""
    settings = reinforce.Settings(baseline="batch", kl_in="none")
    estimate, _ = reinforce.advantages(episodes.experience(0.0), settings)
    rows = [row for row in range(8) if is_scored(row)]
    for row in rows:
        others = [SCORES[other] for other in rows if other != row]
        close(estimate.advantages[row, 0], 6 / 7 * (SCORES[row] - sum(others) / 6))


def test_a_response_counts_as_its_sum_over_tokens_not_its_mean() -> None:
    of = episodes.batch(METHOD, reinforce.Settings(baseline="none", kl_in="none"))
    slopes = episodes.gradient_of(METHOD, of, reinforce.Settings(baseline="none", kl_in="none"))
    for row in range(8):
        if is_scored(row):
            close(slopes[row, : LENGTHS[row]], [-SCORES[row] / 7] * LENGTHS[row])


def test_old_log_probabilities_play_no_part_in_the_loss() -> None:
    of = episodes.batch(METHOD, EVERYTHING, 0.0)
    other = replace(of, old_logprobs=of.old_logprobs - 3)
    close(episodes.loss(METHOD, other, EVERYTHING), episodes.loss(METHOD, of, EVERYTHING), 1e-12)


def test_only_the_log_probabilities_carry_the_gradient() -> None:
    of = episodes.batch(METHOD, EVERYTHING, 0.0)
    live = of.advantages.clone().requires_grad_()
    losses, _ = reinforce.token_loss(replace(of, advantages=live), EVERYTHING)
    assert not losses.requires_grad
    slopes = gradient(lambda x: episodes.loss(METHOD, replace(of, logprobs=x), EVERYTHING), of.logprobs)
    assert bool(slopes.isfinite().all())


def test_missing_parts_are_named() -> None:
    for baseline in ("moving_average", "greedy"):
        with pytest.raises(AssertionError, match=f"{baseline} needs baselines"):
            reinforce.advantages(replace(episodes.experience(), baselines=None), reinforce.Settings(baseline=baseline))
    with pytest.raises(AssertionError, match="reference"):
        reinforce.advantages(replace(episodes.experience(), ref_logprobs=None), reinforce.Settings(baseline="none"))


def test_needs() -> None:
    plain = reinforce.needs(reinforce.Settings())
    assert plain == Needs(reference=True, on_policy=True, moving_average=0.95)
    greedy = reinforce.needs(reinforce.Settings(baseline="greedy", kl_in="none", entropy_coefficient=0.1))
    assert greedy == Needs(entropy=True, on_policy=True, greedy=True)
    assert reinforce.needs(reinforce.Settings(decay=0.5)).moving_average == 0.5


def test_defaults() -> None:
    assert reinforce.Settings().model_dump() == {
        "baseline": "moving_average",
        "decay": 0.95,
        "gamma": 1.0,
        "kl_in": "reward",
        "kl_estimator": None,
        "entropy_coefficient": 0.0,
    }
    assert METHOD.average == "sequence_sum"


@pytest.mark.parametrize(
    "values",
    [
        {"decay": 1.0},
        {"decay": -0.1},
        {"gamma": 0.0},
        {"gamma": 1.1},
        {"baseline": "greedy", "decay": 0.9},
        {"baseline": "critic"},
    ],
)
def test_settings_refuse_what_makes_no_sense(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        reinforce.Settings.model_validate(values)
    assert reinforce.Settings(decay=0.0, gamma=0.01).decay == 0.0
