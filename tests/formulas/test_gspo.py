"""GSPO against plain loops; one token makes it GRPO, and its clip is far too narrow for tokens."""

import math
from dataclasses import replace
from typing import Any

import episodes
import pytest
import torch
from checks import Rows, close, mask_of, padded
from episodes import DATA, LENGTHS, on_tokens, scalar_rewards, standardised
from pydantic import ValidationError

from tuningfork.batch import Needs, PolicyBatch
from tuningfork.methods.average import average_weights
from tuningfork.methods.policy import grpo, gspo, load

METHOD = load("gspo")
EVERYTHING = gspo.Settings(clip_low=0.1, clip_high=0.2, entropy_coefficient=0.05, kl_in="loss", kl_estimator="k3")


def scalar_advantages(settings: gspo.Settings) -> Rows:
    rewards = [sum(row) for row in scalar_rewards(settings.kl_in)]
    return on_tokens(standardised(rewards))


@pytest.mark.parametrize("kl_in", ["reward", "none"])
def test_advantages_match_loops(kl_in: Any) -> None:
    settings = gspo.Settings(kl_in=kl_in)
    assert episodes.check_advantages(METHOD, settings, scalar_advantages(settings)) == {}


def scalar_loss(settings: gspo.Settings) -> Any:
    def losses(values: dict[str, Rows], signals: Rows) -> Rows:
        found = []
        for i, length in enumerate(LENGTHS):
            new, old = values["logprobs"][i], DATA["old"][i]
            difference = sum(p - q for p, q in zip(new, old, strict=True)) / length
            a, ratio = signals[i][0], math.exp(difference)
            whole = -min(a * ratio, a * min(max(ratio, 1 - settings.clip_low), 1 + settings.clip_high))
            found.append([whole + episodes.scalar_terms(i, t, values, settings) for t in range(length)])
        return found

    return losses


@pytest.mark.parametrize(
    "changes", [{}, {"kl_in": "loss", "kl_estimator": "k2"}, {"kl_in": "none", "kl_estimator": None}]
)
def test_loss_and_gradient_match_loops(changes: dict[str, Any]) -> None:
    settings = gspo.Settings.model_validate(EVERYTHING.model_dump() | changes)
    episodes.check_loss(METHOD, settings, scalar_loss(settings), ("logprobs", "entropy"))


def test_worked_example() -> None:
    # ratios 4 and 1 of two tokens: their geometric mean is 2; A = 3: -6 on each token, or clipped at 1.5: -4.5
    of = PolicyBatch(
        logprobs=torch.tensor([[4.0, 1.0]], dtype=torch.float64).log(),
        old_logprobs=torch.zeros(1, 2, dtype=torch.float64),
        advantages=torch.full((1, 2), 3.0, dtype=torch.float64),
        mask=mask_of([2]),
        weights=torch.ones(1, 2) / 2,
    )
    close(gspo.token_loss(of, gspo.Settings(clip_high=2.0))[0], [[-6.0, -6.0]])
    close(gspo.token_loss(of, gspo.Settings(clip_high=0.5))[0], [[-4.5, -4.5]])


def test_invariances() -> None:
    episodes.check_invariances(METHOD, EVERYTHING)


def test_direction() -> None:
    episodes.check_direction(METHOD, gspo.Settings())


def test_metrics() -> None:
    episodes.check_metrics(METHOD, EVERYTHING, episodes.GROUP | {"kl_clamp_fraction"})


def test_with_one_token_it_is_grpo() -> None:
    ours = gspo.Settings(clip_low=0.2, clip_high=0.2)
    theirs = grpo.Settings(kl_in="none", kl_estimator=None)
    of = episodes.batch(METHOD, ours, 0.0)
    first = replace(
        of,
        **{
            name: getattr(of, name)[:, :1]
            for name in ("logprobs", "old_logprobs", "advantages", "mask", "values", "old_values", "ref_logprobs")
        },
        entropy=None,
        returns=None,
        weights=average_weights(of.mask[:, :1].double(), "sequence_mean"),
    )
    close(gspo.token_loss(first, ours)[0], grpo.token_loss(first, theirs)[0], 1e-12)
    slopes = episodes.gradient_of(METHOD, first, ours)
    close(slopes, episodes.gradient_of(load("grpo"), first, theirs), 1e-12)
    assert bool((slopes == 0).any()) and bool((slopes != 0).any()), "some are clipped, some are not"


def test_ratio_one_gives_every_token_its_share_of_the_response() -> None:
    free = gspo.Settings()
    of = replace(episodes.batch(METHOD, free), old_logprobs=padded(DATA["new"]))
    lengths = torch.tensor(LENGTHS, dtype=torch.float64)[:, None]
    close(episodes.gradient_of(METHOD, of, free), -of.zero_padding().advantages / lengths / 7)


def test_advantages_of_a_group_sum_to_zero_and_ignore_a_shift() -> None:
    free = gspo.Settings()
    known = episodes.experience()
    estimate = gspo.advantages(known, free)[0].advantages[:, 0]
    for number in set(episodes.GROUPS):
        close(estimate[known.groups == number].sum(), 0.0)  # type: ignore[arg-type]
    assert known.groups is not None
    moved = replace(known, scores=known.scores + 7 * known.groups)
    close(gspo.advantages(moved, free)[0].advantages[:, 0], estimate)


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
    _, metrics = gspo.token_loss(replace(of, logprobs=far.log().expand(8, 6)), EVERYTHING)
    close(metrics["clip_fraction_high"][:, 0], [1.0, 0, 0, 0, 0, 0, 0, 0])
    close(metrics["clip_fraction_low"][:, 0], [0.0, 0, 1, 0, 0, 0, 0, 0])
    close(metrics["clip_fraction"][:, 0], [1.0, 0, 1, 0, 0, 0, 0, 0])


def test_missing_parts_are_named() -> None:
    with pytest.raises(AssertionError, match="groups"):
        gspo.advantages(replace(episodes.experience(), groups=None), EVERYTHING)


def test_needs() -> None:
    charged = gspo.Settings(kl_in="reward", kl_estimator=None)
    assert gspo.needs(charged) == Needs(reference=True, groups=True)
    free = gspo.Settings(kl_in="none", kl_estimator=None, entropy_coefficient=0.1)
    assert gspo.needs(free) == Needs(entropy=True, groups=True)


def test_defaults() -> None:
    assert gspo.Settings().model_dump() == {
        "clip_low": 3e-4,
        "clip_high": 4e-4,
        "epochs": 1,
        "kl_in": "none",
        "kl_estimator": None,
        "entropy_coefficient": 0.0,
    }
    assert METHOD.average == "sequence_mean"


@pytest.mark.parametrize("values", [{"clip_low": 0.0}, {"clip_low": 1.0}, {"clip_high": 0.0}, {"epochs": 0}])
def test_settings_refuse_what_makes_no_sense(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        gspo.Settings.model_validate(values)
    assert (
        gspo.Settings.model_validate({"clip_low": 0.99, "clip_high": 1.5, "epochs": 1}).model_dump().items()
        >= {"clip_low": 0.99, "clip_high": 1.5, "epochs": 1}.items()
    )
