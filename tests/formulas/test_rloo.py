"""RLOO against plain loops; leave-one-out by its definition, and the ratio of a whole response."""

import math
from dataclasses import replace
from typing import Any

import episodes
import pytest
import torch
from checks import Rows, close, padded
from episodes import DATA, LENGTHS, SCORES, members, on_tokens, scalar_rewards
from pydantic import ValidationError

from tuningfork.batch import Needs, PolicyBatch
from tuningfork.methods.policy import dr_grpo, load, rloo

METHOD = load("rloo")
EVERYTHING = rloo.Settings(clip_range=0.3, entropy_coefficient=0.05, kl_in="loss", kl_estimator="k3")


def scalar_advantages(settings: rloo.Settings) -> Rows:
    rewards = [sum(row) for row in scalar_rewards(settings.kl_in)]
    found = []
    for row, reward in enumerate(rewards):
        others = [rewards[other] for other in members(row) if other != row]
        found.append(reward - sum(others) / len(others))
    return on_tokens(found)


@pytest.mark.parametrize("kl_in", ["reward", "none"])
def test_advantages_match_loops(kl_in: Any) -> None:
    settings = rloo.Settings(kl_in=kl_in)
    assert episodes.check_advantages(METHOD, settings, scalar_advantages(settings)) == {}


def scalar_loss(settings: rloo.Settings) -> Any:
    def losses(values: dict[str, Rows], signals: Rows) -> Rows:
        found = []
        for i, length in enumerate(LENGTHS):
            new, old = values["logprobs"][i], DATA["old"][i]
            difference = sum(p - q for p, q in zip(new, old, strict=True))
            a, ratio = signals[i][0], math.exp(difference)
            whole = -min(a * ratio, a * min(max(ratio, 1 - settings.clip_range), 1 + settings.clip_range))
            found.append([whole + episodes.scalar_terms(i, t, values, settings) for t in range(length)])
        return found

    return losses


@pytest.mark.parametrize(
    "changes", [{}, {"kl_in": "loss", "kl_estimator": "k2"}, {"kl_in": "none", "kl_estimator": None}]
)
def test_loss_and_gradient_match_loops(changes: dict[str, Any]) -> None:
    settings = rloo.Settings.model_validate(EVERYTHING.model_dump() | changes)
    episodes.check_loss(METHOD, settings, scalar_loss(settings), ("logprobs", "entropy"))


def test_worked_example() -> None:
    # scores 1, 2, 6 of one prompt: 1 - 4 = -3, 2 - 3.5 = -1.5, 6 - 1.5 = 4.5
    known = replace(
        episodes.experience().slice(slice(0, 3)),
        scores=torch.tensor([1.0, 2.0, 6.0], dtype=torch.float64),
        groups=torch.tensor([4, 4, 4]),
    )
    estimate, _ = rloo.advantages(known, rloo.Settings(kl_in="none"))
    close(estimate.advantages[:, 0], [-3.0, -1.5, 4.5])
    # two tokens with ratios 1.5 and 0.8 make 1.2 for the response; A = 2: -2.4 on each token, under e = 0.3
    one = torch.ones(1, 2, dtype=torch.float64)
    of = PolicyBatch(
        logprobs=torch.tensor([[1.5, 0.8]], dtype=torch.float64).log(),
        old_logprobs=0 * one,
        advantages=2 * one,
        mask=one.bool(),
        weights=one / 2,
    )
    losses, _ = rloo.token_loss(of, rloo.Settings(clip_range=0.3))
    close(losses, [[-2.4, -2.4]])
    close(rloo.token_loss(of, rloo.Settings(clip_range=0.1))[0], [[-2.2, -2.2]])


def test_invariances() -> None:
    episodes.check_invariances(METHOD, EVERYTHING)


def test_direction() -> None:
    episodes.check_direction(METHOD, rloo.Settings(kl_in="none"))


def test_metrics() -> None:
    episodes.check_metrics(METHOD, EVERYTHING, episodes.GROUP | {"kl_clamp_fraction"})


def test_fresh_responses_give_the_gradient_of_the_paper() -> None:
    """-A_i times the gradient of the SUM of log-probabilities, averaged over responses."""
    settings = rloo.Settings()
    of = replace(episodes.batch(METHOD, settings), old_logprobs=padded(DATA["new"]))
    slopes = episodes.gradient_of(METHOD, of, settings)
    close(slopes, -of.zero_padding().advantages / 7)


def test_two_responses_stand_at_half_their_distance_to_either_side_of_their_middle_times_two() -> None:
    known = episodes.experience()
    estimate, _ = rloo.advantages(known, rloo.Settings(kl_in="none"))
    close(estimate.advantages[4, 0], SCORES[4] - SCORES[6])  # group 5 has these two
    close(estimate.advantages[6, 0], SCORES[6] - SCORES[4])


def test_leave_one_out_is_the_centred_score_times_n_over_n_minus_1() -> None:
    known = episodes.experience()
    ours = rloo.advantages(known, rloo.Settings(kl_in="none"))[0].advantages
    centred = dr_grpo.advantages(known, dr_grpo.Settings())[0].advantages
    factors = [3 / 2, 2, 3 / 2, 1, 2, 3 / 2, 2, 2]
    close(ours, centred * torch.tensor(factors, dtype=torch.float64)[:, None])


def test_advantages_of_a_group_sum_to_zero_and_ignore_a_shift() -> None:
    free = rloo.Settings(kl_in="none")
    known = episodes.experience()
    estimate = rloo.advantages(known, free)[0].advantages[:, 0]
    for number in set(episodes.GROUPS):
        close(estimate[known.groups == number].sum(), 0.0)  # type: ignore[arg-type]
    assert known.groups is not None
    moved = replace(known, scores=known.scores + 7 * known.groups)
    close(rloo.advantages(moved, free)[0].advantages[:, 0], estimate)


def test_clips_are_counted_on_both_sides() -> None:
    of = replace(
        episodes.batch(METHOD, EVERYTHING, 0.0),
        old_logprobs=torch.zeros_like(episodes.MASK, dtype=torch.float64),
        advantages=torch.tensor([[1.0], [1.0], [-1.0], [-1.0], [1.0], [-1.0], [0.0], [0.0]], dtype=torch.float64)
        .expand(8, 6)
        .clone(),
        mask=torch.ones_like(episodes.MASK),
    )
    far = torch.tensor([[9.0], [0.1], [0.1], [9.0], [1.0], [1.0], [9.0], [0.1]], dtype=torch.float64)
    _, metrics = rloo.token_loss(replace(of, logprobs=(far.log() / 6).expand(8, 6)), EVERYTHING)
    close(metrics["clip_fraction_high"][:, 0], [1.0, 0, 0, 0, 0, 0, 0, 0])
    close(metrics["clip_fraction_low"][:, 0], [0.0, 0, 1, 0, 0, 0, 0, 0])
    close(metrics["clip_fraction"][:, 0], [1.0, 0, 1, 0, 0, 0, 0, 0])


def test_a_response_alone_in_its_group_teaches_nothing() -> None:
    known = replace(episodes.experience(), groups=torch.arange(8))
    close(rloo.advantages(known, rloo.Settings(kl_in="none"))[0].advantages, torch.zeros(8, 6))


def test_missing_parts_are_named() -> None:
    with pytest.raises(AssertionError, match="groups"):
        rloo.advantages(replace(episodes.experience(), groups=None), EVERYTHING)


def test_needs() -> None:
    charged = rloo.Settings(kl_in="reward", kl_estimator=None)
    assert rloo.needs(charged) == Needs(reference=True, groups=True)
    free = rloo.Settings(kl_in="none", kl_estimator=None, entropy_coefficient=0.1)
    assert rloo.needs(free) == Needs(entropy=True, groups=True)


def test_defaults() -> None:
    assert rloo.Settings().model_dump() == {
        "clip_range": 0.2,
        "epochs": 1,
        "kl_in": "reward",
        "kl_estimator": None,
        "entropy_coefficient": 0.0,
    }
    assert METHOD.average == "sequence_mean"


@pytest.mark.parametrize(
    "values", [{"clip_range": 0.0}, {"clip_range": 1.0}, {"epochs": 0}, {"kl_in": "loss"}, {"kl_estimator": "k2"}]
)
def test_settings_refuse_what_makes_no_sense(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        rloo.Settings.model_validate(values)
    assert (
        rloo.Settings.model_validate({"clip_range": 0.99, "epochs": 1}).model_dump().items()
        >= {"clip_range": 0.99, "epochs": 1}.items()
    )
