"""Dr. GRPO against plain loops; the two biases of GRPO that it has not."""

import math
from dataclasses import replace
from typing import Any

import episodes
import pytest
import torch
from checks import Rows, close, mask_of, padded
from episodes import DATA, LENGTHS, members, on_tokens, scalar_rewards
from pydantic import ValidationError

from tuningfork.batch import Needs, PolicyBatch
from tuningfork.methods.average import average_weights
from tuningfork.methods.policy import dr_grpo, load

METHOD = load("dr_grpo")
EVERYTHING = dr_grpo.Settings(clip_range=0.3, entropy_coefficient=0.05, kl_in="loss", kl_estimator="k3")


def scalar_advantages(settings: dr_grpo.Settings) -> Rows:
    rewards = [sum(row) for row in scalar_rewards(settings.kl_in)]
    means = [sum(rewards[other] for other in members(row)) / len(members(row)) for row in range(8)]
    return on_tokens([reward - mean for reward, mean in zip(rewards, means, strict=True)])


@pytest.mark.parametrize("kl_in", ["reward", "none"])
def test_advantages_match_loops(kl_in: Any) -> None:
    settings = dr_grpo.Settings(kl_in=kl_in)
    assert episodes.check_advantages(METHOD, settings, scalar_advantages(settings)) == {}


def scalar_loss(settings: dr_grpo.Settings) -> Any:
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
    settings = dr_grpo.Settings.model_validate(EVERYTHING.model_dump() | changes)
    episodes.check_loss(METHOD, settings, scalar_loss(settings), ("logprobs", "entropy"))


def test_worked_example() -> None:
    # scores 1, 2, 6: less their mean 3
    known = replace(
        episodes.experience().slice(slice(0, 3)),
        scores=torch.tensor([1.0, 2.0, 6.0], dtype=torch.float64),
        groups=torch.tensor([4, 4, 4]),
    )
    estimate, _ = dr_grpo.advantages(known, dr_grpo.Settings())
    close(estimate.advantages[:, 0], [-2.0, -1.0, 3.0])
    # of = 2 tokens of A = 2 and ratios 1.5 (clipped to 1.2) and 1: -2.4 and -2; 1 response, 8 tokens allowed: -4.4 / 8
    of = PolicyBatch(
        logprobs=torch.tensor([[1.5, 1.0]], dtype=torch.float64).log(),
        old_logprobs=torch.zeros(1, 2, dtype=torch.float64),
        advantages=torch.full((1, 2), 2.0, dtype=torch.float64),
        mask=mask_of([2]),
        weights=average_weights(mask_of([2]).double(), dr_grpo.average, 8),
    )
    close(episodes.loss(METHOD, of, dr_grpo.Settings()), -0.55)


def test_invariances() -> None:
    episodes.check_invariances(METHOD, EVERYTHING)


def test_direction() -> None:
    episodes.check_direction(METHOD, dr_grpo.Settings())


def test_metrics() -> None:
    episodes.check_metrics(METHOD, EVERYTHING, episodes.GROUP | {"kl_clamp_fraction"})


def test_a_token_weighs_the_same_whatever_the_length_of_its_response() -> None:
    of = replace(episodes.batch(METHOD, dr_grpo.Settings()), old_logprobs=padded(DATA["new"]))
    slopes = episodes.gradient_of(METHOD, of, dr_grpo.Settings())
    close(slopes, -of.zero_padding().advantages / episodes.MAX_LENGTH / 7)


def test_advantages_of_a_group_sum_to_zero_and_ignore_a_shift() -> None:
    free = dr_grpo.Settings()
    known = episodes.experience()
    estimate = dr_grpo.advantages(known, free)[0].advantages[:, 0]
    for number in set(episodes.GROUPS):
        close(estimate[known.groups == number].sum(), 0.0)  # type: ignore[arg-type]
    assert known.groups is not None
    moved = replace(known, scores=known.scores + 7 * known.groups)
    close(dr_grpo.advantages(moved, free)[0].advantages[:, 0], estimate)


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
    _, metrics = dr_grpo.token_loss(replace(of, logprobs=0.75 + far.log().expand(8, 6)), EVERYTHING)
    close(metrics["clip_fraction_high"][:, 0], [1.0, 0, 0, 0, 0, 0, 0, 0])
    close(metrics["clip_fraction_low"][:, 0], [0.0, 0, 1, 0, 0, 0, 0, 0])
    close(metrics["clip_fraction"][:, 0], [1.0, 0, 1, 0, 0, 0, 0, 0])


def test_missing_parts_are_named() -> None:
    with pytest.raises(AssertionError, match="groups"):
        dr_grpo.advantages(replace(episodes.experience(), groups=None), EVERYTHING)


def test_needs() -> None:
    charged = dr_grpo.Settings(kl_in="reward", kl_estimator=None)
    assert dr_grpo.needs(charged) == Needs(reference=True, groups=True)
    free = dr_grpo.Settings(kl_in="none", kl_estimator=None, entropy_coefficient=0.1)
    assert dr_grpo.needs(free) == Needs(entropy=True, groups=True)


def test_defaults() -> None:
    assert dr_grpo.Settings().model_dump() == {
        "clip_range": 0.2,
        "epochs": 1,
        "kl_in": "none",
        "kl_estimator": None,
        "entropy_coefficient": 0.0,
    }
    assert METHOD.average == "constant"


@pytest.mark.parametrize("values", [{"clip_range": 0.0}, {"clip_range": 1.0}, {"epochs": 0}, {"kl_in": "loss"}])
def test_settings_refuse_what_makes_no_sense(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        dr_grpo.Settings.model_validate(values)
    assert (
        dr_grpo.Settings.model_validate({"clip_range": 0.99, "epochs": 1}).model_dump().items()
        >= {"clip_range": 0.99, "epochs": 1}.items()
    )
