"""DAPO against plain loops: two clip ranges, the price of length, GRPO where both are switched off."""

import math
from dataclasses import replace
from typing import Any

import episodes
import pytest
import torch
from checks import Rows, close, mask_of, padded
from episodes import DATA, LENGTHS, MAX_LENGTH, is_scored, on_tokens, scalar_rewards, standardised
from pydantic import ValidationError

from tuningfork.batch import Needs, PolicyBatch
from tuningfork.methods.policy import dapo, grpo, load

METHOD = load("dapo")
EVERYTHING = dapo.Settings(
    clip_low=0.3, clip_high=0.5, overlong_share=0.5, entropy_coefficient=0.05, kl_in="loss", kl_estimator="k3"
)


def penalty(length: int, share: float | None) -> float:
    """Eq. 13: nothing up to Lmax - Lc, ((Lmax - Lc) - |y|) / Lc up to Lmax."""
    if share is None:
        return 0.0
    buffer = share * MAX_LENGTH
    return 0.0 if length <= MAX_LENGTH - buffer else ((MAX_LENGTH - buffer) - length) / buffer


def scalar_advantages(settings: dapo.Settings) -> Rows:
    rewards = [sum(row) for row in scalar_rewards(settings.kl_in)]
    lengths = zip(rewards, LENGTHS, strict=True)
    return on_tokens(standardised([r + penalty(length, settings.overlong_share) for r, length in lengths]))


@pytest.mark.parametrize("kl_in", ["reward", "none"])
@pytest.mark.parametrize("share", [None, 0.2, 0.5, 1.0])
def test_advantages_match_loops(kl_in: Any, share: float | None) -> None:
    settings = dapo.Settings(kl_in=kl_in, overlong_share=share)
    metrics = episodes.check_advantages(METHOD, settings, scalar_advantages(settings))
    assert metrics.keys() == (set() if share is None else {"overlong_penalty"})
    if share is not None:
        counted = [penalty(length, share) for row, length in enumerate(LENGTHS) if is_scored(row)]
        close(metrics["overlong_penalty"], sum(counted) / 7)


def scalar_loss(settings: dapo.Settings) -> Any:
    def losses(values: dict[str, Rows], signals: Rows) -> Rows:
        found = []
        for i, length in enumerate(LENGTHS):
            row = []
            for t in range(length):
                a, ratio = signals[i][t], math.exp(values["logprobs"][i][t] - DATA["old"][i][t])
                clipped = min(max(ratio, 1 - settings.clip_low), 1 + settings.clip_high)
                row.append(-min(a * ratio, a * clipped) + episodes.scalar_terms(i, t, values, settings))
            found.append(row)
        return found

    return losses


@pytest.mark.parametrize(
    "changes", [{}, {"kl_in": "loss", "kl_estimator": "k2"}, {"kl_in": "none", "kl_estimator": None}]
)
def test_loss_and_gradient_match_loops(changes: dict[str, Any]) -> None:
    settings = dapo.Settings.model_validate(EVERYTHING.model_dump() | changes)
    episodes.check_loss(METHOD, settings, scalar_loss(settings), ("logprobs", "entropy"))


def test_worked_example() -> None:
    # A = 1: ratio 1.5 is clipped to 1.28, -1.28; ratio 1.25 is not, -1.25.  A = -1: ratio 0.5 is clipped to 0.8
    of = PolicyBatch(
        logprobs=torch.tensor([[1.5, 1.25, 0.5]], dtype=torch.float64).log(),
        old_logprobs=torch.zeros(1, 3, dtype=torch.float64),
        advantages=torch.tensor([[1.0, 1.0, -1.0]], dtype=torch.float64),
        mask=mask_of([3]),
        weights=torch.ones(1, 3) / 3,
    )
    close(dapo.token_loss(of, dapo.Settings())[0], [[-1.28, -1.25, 0.8]])


def test_invariances() -> None:
    episodes.check_invariances(METHOD, EVERYTHING)


def test_direction() -> None:
    episodes.check_direction(METHOD, dapo.Settings())


def test_metrics() -> None:
    episodes.check_metrics(METHOD, EVERYTHING, episodes.GROUP | {"kl_clamp_fraction"})


def test_with_equal_clips_and_no_price_of_length_it_is_grpo_but_for_the_average() -> None:
    ours = dapo.Settings(clip_low=0.2, clip_high=0.2, overlong_share=None)
    theirs = grpo.Settings(kl_in="none", kl_estimator=None)
    first, second = episodes.batch(METHOD, ours), episodes.batch(load("grpo"), theirs)
    close(first.zero_padding().advantages, second.zero_padding().advantages, 1e-12)
    close(dapo.token_loss(first, ours)[0], grpo.token_loss(second, theirs)[0], 1e-12)
    assert METHOD.average != grpo.average


def test_every_token_of_the_step_weighs_the_same() -> None:
    free = dapo.Settings()
    of = replace(episodes.batch(METHOD, free), old_logprobs=padded(DATA["new"]))
    tokens = sum(length for row, length in enumerate(LENGTHS) if is_scored(row))
    close(episodes.gradient_of(METHOD, of, free), -of.zero_padding().advantages / tokens)


def test_advantages_of_a_group_sum_to_zero_and_ignore_a_shift() -> None:
    free = dapo.Settings(overlong_share=None)
    known = episodes.experience()
    estimate = dapo.advantages(known, free)[0].advantages[:, 0]
    for number in set(episodes.GROUPS):
        close(estimate[known.groups == number].sum(), 0.0)  # type: ignore[arg-type]
    assert known.groups is not None
    moved = replace(known, scores=known.scores + 7 * known.groups)
    close(dapo.advantages(moved, free)[0].advantages[:, 0], estimate)


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
    _, metrics = dapo.token_loss(replace(of, logprobs=0.75 + far.log().expand(8, 6)), EVERYTHING)
    close(metrics["clip_fraction_high"][:, 0], [1.0, 0, 0, 0, 0, 0, 0, 0])
    close(metrics["clip_fraction_low"][:, 0], [0.0, 0, 1, 0, 0, 0, 0, 0])
    close(metrics["clip_fraction"][:, 0], [1.0, 0, 1, 0, 0, 0, 0, 0])


def test_how_often_other_prompts_are_sampled_is_asked_of_the_loop() -> None:
    assert dapo.needs(dapo.Settings(resampling=0)).resampling == 0


def test_missing_parts_are_named() -> None:
    with pytest.raises(AssertionError, match="groups"):
        dapo.advantages(replace(episodes.experience(), groups=None), EVERYTHING)
    with pytest.raises(AssertionError, match="max_length"):
        dapo.advantages(replace(episodes.experience(), max_length=None), EVERYTHING)


def test_needs() -> None:
    charged = dapo.Settings(kl_in="reward", kl_estimator=None)
    assert dapo.needs(charged) == Needs(reference=True, groups=True, resampling=3)
    free = dapo.Settings(kl_in="none", kl_estimator=None, entropy_coefficient=0.1)
    assert dapo.needs(free) == Needs(entropy=True, groups=True, resampling=3)


def test_defaults() -> None:
    assert dapo.Settings().model_dump() == {
        "clip_low": 0.2,
        "clip_high": 0.28,
        "epochs": 1,
        "overlong_share": 0.2,
        "resampling": 3,
        "kl_in": "none",
        "kl_estimator": None,
        "entropy_coefficient": 0.0,
    }
    assert METHOD.average == "token_mean"


@pytest.mark.parametrize(
    "values",
    [
        {"clip_low": 0.0},
        {"clip_low": 1.0},
        {"clip_high": 0.0},
        {"epochs": 0},
        {"overlong_share": 0.0},
        {"overlong_share": 1.1},
        {"resampling": -1},
    ],
)
def test_settings_refuse_what_makes_no_sense(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        dapo.Settings.model_validate(values)
    assert (
        dapo.Settings.model_validate(
            {"clip_low": 0.99, "clip_high": 1.5, "epochs": 1, "overlong_share": 1.0, "resampling": 0}
        )
        .model_dump()
        .items()
        >= {"clip_low": 0.99, "clip_high": 1.5, "epochs": 1, "overlong_share": 1.0, "resampling": 0}.items()
    )
