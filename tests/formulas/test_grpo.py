"""GRPO against plain loops; what its deviation does, and that without it Dr. GRPO is left."""

import math
from dataclasses import replace
from typing import Any

import episodes
import pytest
import torch
from checks import Rows, close, padded
from episodes import DATA, LENGTHS, is_scored, members, on_tokens, scalar_rewards, standardised
from pydantic import ValidationError

from tuningfork.batch import Needs, PolicyBatch
from tuningfork.methods.policy import dr_grpo, grpo, load

METHOD = load("grpo")
EVERYTHING = grpo.Settings(clip_range=0.3, entropy_coefficient=0.05)


def scalar_advantages(settings: grpo.Settings) -> Rows:
    rewards = [sum(row) for row in scalar_rewards(settings.kl_in)]
    is_unbiased = settings.deviation == "unbiased"
    if settings.scale == "group":
        return on_tokens(standardised(rewards, unbiased=is_unbiased))
    counted = [reward for row, reward in enumerate(rewards) if is_scored(row)]
    mean = sum(counted) / len(counted)
    deviation = math.sqrt(sum((r - mean) ** 2 for r in counted) / (len(counted) - (1 if is_unbiased else 0)))
    means = [sum(rewards[other] for other in members(row)) / len(members(row)) for row in range(8)]
    divisor = 1.0 if settings.scale == "none" else deviation + 1e-4
    return on_tokens([(reward - mean) / divisor for reward, mean in zip(rewards, means, strict=True)])


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
@pytest.mark.parametrize("deviation", ["unbiased", "biased"])
@pytest.mark.parametrize("kl_in", ["reward", "none"])
def test_advantages_match_loops(scale: Any, deviation: Any, kl_in: Any) -> None:
    settings = grpo.Settings(scale=scale, deviation=deviation, kl_in=kl_in, kl_estimator=None)
    assert episodes.check_advantages(METHOD, settings, scalar_advantages(settings)) == {}


def scalar_loss(settings: grpo.Settings) -> Any:
    def losses(values: dict[str, Rows], signals: Rows) -> Rows:
        found = []
        for i, length in enumerate(LENGTHS):
            row = []
            for t in range(length):
                a, ratio = signals[i][t], math.exp(values["logprobs"][i][t] - DATA["old"][i][t])
                clipped = min(max(ratio, 1 - settings.clip_range), 1 + settings.clip_range)
                row.append(-min(a * ratio, a * clipped) + episodes.scalar_terms(i, t, values, settings))
            found.append(row)
        return found

    return losses


@pytest.mark.parametrize(
    "changes", [{}, {"kl_in": "loss", "kl_estimator": "k2"}, {"kl_in": "none", "kl_estimator": None}]
)
def test_loss_and_gradient_match_loops(changes: dict[str, Any]) -> None:
    settings = grpo.Settings.model_validate(EVERYTHING.model_dump() | changes)
    episodes.check_loss(METHOD, settings, scalar_loss(settings), ("logprobs", "entropy"))


def test_worked_example() -> None:
    # scores 1, 2, 6: mean 3, squares 4 + 1 + 9 = 14, deviation sqrt(14 / 2) = sqrt(7), or sqrt(14 / 3) over n
    known = replace(
        episodes.experience().slice(slice(0, 3)),
        scores=torch.tensor([1.0, 2.0, 6.0], dtype=torch.float64),
        groups=torch.tensor([4, 4, 4]),
    )
    free = grpo.Settings(kl_in="none", kl_estimator=None)
    estimate, _ = grpo.advantages(known, free)
    close(estimate.advantages[:, 0], [x / (math.sqrt(7) + 1e-4) for x in (-2.0, -1.0, 3.0)])
    biased = grpo.Settings(kl_in="none", kl_estimator=None, deviation="biased")
    close(grpo.advantages(known, biased)[0].advantages[0, 0], -2.0 / (math.sqrt(14 / 3) + 1e-4))
    # A = 2, ratio 1.5 clipped to 1.2: -2.4.  d = log 1.5 - log 3 = -log 2: k3 = 2 - 1 - log 2, times beta 0.1
    one = torch.ones(1, 1, dtype=torch.float64)
    of = PolicyBatch(
        logprobs=(1.5 * one).log(),
        old_logprobs=0 * one,
        ref_logprobs=(3 * one).log(),
        advantages=2 * one,
        mask=one.bool(),
        weights=one,
        kl_coefficient=0.1,
    )
    close(grpo.token_loss(of, grpo.Settings())[0], [[-2.4 + 0.1 * (1 - math.log(2))]])


def test_invariances() -> None:
    episodes.check_invariances(METHOD, EVERYTHING)


def test_direction() -> None:
    episodes.check_direction(METHOD, grpo.Settings(kl_in="none", kl_estimator=None))


def test_metrics() -> None:
    episodes.check_metrics(METHOD, EVERYTHING, episodes.GROUP | {"kl_clamp_fraction"})


def test_without_its_deviation_it_is_dr_grpo() -> None:
    """Same advantages and token losses; what is left of the difference is the average."""
    ours, theirs = grpo.Settings(scale="none", kl_in="none", kl_estimator=None), dr_grpo.Settings()
    first, second = episodes.batch(METHOD, ours), episodes.batch(load("dr_grpo"), theirs)
    close(first.zero_padding().advantages, second.zero_padding().advantages, 1e-12)
    close(grpo.token_loss(first, ours)[0], dr_grpo.token_loss(second, theirs)[0], 1e-12)
    assert METHOD.average != dr_grpo.average


def test_a_scale_of_the_scores_has_hardly_an_effect() -> None:
    free = grpo.Settings(kl_in="none", kl_estimator=None)
    known = episodes.experience()
    estimate = grpo.advantages(known, free)[0].advantages
    larger = grpo.advantages(replace(known, scores=known.scores * 1e6), free)[0].advantages
    assert (larger - estimate).abs().max() < 1e-3  # what 1e-4 beside a deviation of order 1 is
    plain = grpo.Settings(scale="none", kl_in="none", kl_estimator=None)
    close(
        grpo.advantages(replace(known, scores=known.scores * 3), plain)[0].advantages,
        3 * grpo.advantages(known, plain)[0].advantages,
    )


def test_two_different_scores_stand_0_71_deviations_from_their_middle_whatever_their_gap() -> None:
    free = grpo.Settings(kl_in="none", kl_estimator=None)
    estimate, _ = grpo.advantages(episodes.experience(), free)  # group 5: 1.5 and 0.5, deviation 1 / sqrt(2)
    close(estimate.advantages[[4, 6], 0], [0.5 / (0.5**0.5 + 1e-4), -0.5 / (0.5**0.5 + 1e-4)])


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
def test_a_group_of_one_score_has_advantages_of_exactly_zero(scale: Any) -> None:
    settings = grpo.Settings(scale=scale)
    known = replace(episodes.experience(), scores=torch.full((8,), 0.1, dtype=torch.float64))
    estimate, _ = grpo.advantages(known, settings)
    assert bool((estimate.advantages == 0).all())
    # the KL term still acts on them
    of = replace(episodes.batch(METHOD, settings), advantages=estimate.advantages)
    assert bool((episodes.gradient_of(METHOD, of, settings)[episodes.scored_mask()] != 0).all())


def test_ratio_one_is_the_policy_gradient_averaged_within_responses() -> None:
    free = grpo.Settings(kl_in="none", kl_estimator=None)
    of = replace(episodes.batch(METHOD, free), old_logprobs=padded(DATA["new"]))
    lengths = torch.tensor(LENGTHS, dtype=torch.float64)[:, None]
    close(episodes.gradient_of(METHOD, of, free), -of.zero_padding().advantages / lengths / 7)


def test_advantages_of_a_group_sum_to_zero_and_ignore_a_shift() -> None:
    free = grpo.Settings(kl_in="none", kl_estimator=None)
    known = episodes.experience()
    estimate = grpo.advantages(known, free)[0].advantages[:, 0]
    for number in set(episodes.GROUPS):
        close(estimate[known.groups == number].sum(), 0.0)  # type: ignore[arg-type]
    assert known.groups is not None
    moved = replace(known, scores=known.scores + 7 * known.groups)
    close(grpo.advantages(moved, free)[0].advantages[:, 0], estimate)


def test_clips_are_counted_on_both_sides() -> None:
    of = replace(
        episodes.batch(METHOD, EVERYTHING, 0.0),
        old_logprobs=torch.full_like(episodes.MASK, 0.75, dtype=torch.float64),
        advantages=torch.tensor([[1.0], [1.0], [-1.0], [-1.0], [1.0], [-1.0], [0.0], [0.0]], dtype=torch.float64)
        .expand(8, 6)
        .clone(),
        mask=torch.ones_like(episodes.MASK),
    )
    far = torch.tensor([[9.0], [0.1], [0.1], [9.0], [1.0], [1.0], [9.0], [0.1]], dtype=torch.float64)
    _, metrics = grpo.token_loss(replace(of, logprobs=0.75 + far.log().expand(8, 6)), EVERYTHING)
    close(metrics["clip_fraction_high"][:, 0], [1.0, 0, 0, 0, 0, 0, 0, 0])
    close(metrics["clip_fraction_low"][:, 0], [0.0, 0, 1, 0, 0, 0, 0, 0])
    close(metrics["clip_fraction"][:, 0], [1.0, 0, 1, 0, 0, 0, 0, 0])


def test_missing_parts_are_named() -> None:
    with pytest.raises(AssertionError, match="groups"):
        grpo.advantages(replace(episodes.experience(), groups=None), EVERYTHING)


def test_needs() -> None:
    charged = grpo.Settings(kl_in="reward", kl_estimator=None)
    assert grpo.needs(charged) == Needs(reference=True, groups=True)
    free = grpo.Settings(kl_in="none", kl_estimator=None, entropy_coefficient=0.1)
    assert grpo.needs(free) == Needs(entropy=True, groups=True)


def test_defaults() -> None:
    assert grpo.Settings().model_dump() == {
        "clip_range": 0.2,
        "epochs": 1,
        "scale": "group",
        "deviation": "unbiased",
        "kl_in": "loss",
        "kl_estimator": "k3",
        "entropy_coefficient": 0.0,
    }
    assert METHOD.average == "sequence_mean"


@pytest.mark.parametrize(
    "values", [{"clip_range": 0.0}, {"clip_range": 1.0}, {"epochs": 0}, {"kl_in": "reward"}, {"scale": "prompt"}]
)
def test_settings_refuse_what_makes_no_sense(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        grpo.Settings.model_validate(values)
    assert (
        grpo.Settings.model_validate({"clip_range": 0.99, "epochs": 1}).model_dump().items()
        >= {"clip_range": 0.99, "epochs": 1}.items()
    )
