"""Losses and gradients beside those of trl 1.16, which were computed once (`make parity`); the table is docs/parity.md."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import compare_pairs
import compare_policies
import pytest
import tiny
import torch
from comparing import TOLERANCE, Comparison, golden, numbers, versions
from parity_table import DOCUMENT, UNCOMPARED, unfinished
from responses import Sampled

from tuningfork.methods import policy, preference
from tuningfork.methods.kl import FixedKL
from tuningfork.methods.policy import grpo, rloo
from tuningfork.methods.preference import dpo, orpo, simpo
from tuningfork.methods.shaping import Settings as ShapingSettings
from tuningfork.model.backbone import Backbone
from tuningfork.rollout.rollout import Rollout, Segment
from tuningfork.runtime import Runtime
from tuningfork.streams.collection import Collector, Plan, ScoredRollouts
from tuningfork.streams.judgements import JudgedText
from tuningfork.streams.preferences import Example, Examples, PreferenceStream, text_logprobs
from tuningfork.streams.rollouts import Actor, RolloutStream

COMPARISONS = [*compare_pairs.COMPARISONS, *compare_policies.COMPARISONS]
RUNTIME = Runtime("cpu", "fp32", 1)


@pytest.mark.parametrize("comparison", COMPARISONS, ids=lambda comparison: comparison.name)
def test_losses_and_gradients_agree_with_trl(comparison: Comparison) -> None:
    measured = comparison.measure()
    assert measured.absolute <= TOLERANCE and measured.relative <= TOLERANCE
    assert ("gradient" in measured.pairs) is (comparison.name != "overlong")
    if comparison.verdict == "convention":  # a difference that is named is there
        assert comparison.convention and measured.apart > TOLERANCE
    else:
        assert not comparison.convention and measured.apart <= TOLERANCE


def test_every_golden_case_is_compared() -> None:
    assert len(COMPARISONS) == len({comparison.name for comparison in COMPARISONS})
    compared = {comparison.name for comparison in COMPARISONS}
    policies = set(golden("policies"))
    assert policies <= compared and set(golden("rewards")) <= compared and set(golden("feedback")) <= compared
    assert set(golden("pairs")) - {"dpo_swapped"} <= compared  # cdpo is made of two


def test_every_method_is_compared_or_the_document_says_why_not() -> None:
    methods = {
        comparison.method.lower().replace(".", "").replace(" ", "_").removesuffix("-hf") for comparison in COMPARISONS
    }
    assert {*preference.names(), *policy.names()} == (methods - {"", "reward_model"}) | set(UNCOMPARED)


def test_the_document_is_current() -> None:
    text = Path(DOCUMENT).read_text(encoding="utf-8")
    assert unfinished(text) == [] and f"trl {versions()['trl']}" in text


def test_clips_act_on_what_is_compared() -> None:
    """Ratios leave their ranges on both sides of 1; otherwise agreement would say nothing about clips."""
    for name, low, high in (("grpo", 0.8, 1.2), ("dapo", 0.8, 1.28), ("cispo", 0.0, 1.2)):
        sampled = Sampled(golden("policies")[name])
        (step,) = sampled.steps()
        mask = sampled.mask[step.rows]
        ratio = (step.logprobs - numbers(sampled.case["old_logprobs"])[step.rows]).exp()
        better, worse = (step.advantages > 0)[:, None] & mask, (step.advantages < 0)[:, None] & mask
        assert bool((better & (ratio > high)).any()) and (low == 0.0 or bool((worse & (ratio < low)).any()))
        is_still = (step.gradient == 0) & mask & (step.advantages != 0)[:, None]
        assert bool(is_still.any()) is (name != "cispo")
    for name in ("gspo", "rloo", "rloo_split"):
        (step, *_) = Sampled(golden("policies")[name]).steps()
        assert bool((step.gradient == 0).all(-1).any()) and bool((step.gradient != 0).any(-1).any())


# The same models: from token ids to the gradient of every weight


@pytest.fixture
def backbone() -> Backbone:
    return Backbone(tiny.decoder(), tiny.tokenizer(), "tiny")


def judged(case: dict[str, Any]) -> list[Example]:
    """The pairs of a golden case as ids."""
    texts = []
    for ids, attention, completion in zip(case["ids"], case["attention"], case["completion"], strict=True):
        real = [token for token, keep in zip(ids, attention, strict=True) if keep]
        texts.append(JudgedText(real[: completion.index(1)], real[completion.index(1) :]))
    half = len(texts) // 2
    return [Example((texts[i], texts[half + i]), str(i)) for i in range(half)]


def close_digests(model: Any, expected: dict[str, list[float]]) -> None:
    found = tiny.digest(model)
    assert found.keys() == expected.keys()
    largest = max(abs(number) for both in expected.values() for number in both)
    assert largest > 0.1
    for name in expected:
        assert found[name] == pytest.approx(expected[name], abs=TOLERANCE * max(1.0, largest)), name


@pytest.mark.parametrize(
    ("name", "method", "settings"),
    [
        ("dpo", dpo, dpo.Settings(beta=0.3)),
        ("simpo", simpo, simpo.Settings(beta=2.0, gamma=1.2)),
        ("orpo_equal", orpo, orpo.Settings(odds_coefficient=0.25)),
    ],
)
def test_a_step_on_preferences_has_the_gradient_of_trl_at_every_weight(
    backbone: Backbone, name: str, method: Any, settings: Any
) -> None:
    case = golden("pairs")[name]
    examples = judged(case)
    texts = [text for example in examples for text in example.texts]
    tiny.fill(backbone.model, tiny.REFERENCE)
    reference = text_logprobs(backbone, texts, RUNTIME).unflatten(0, (-1, 2)) if "ref_logprobs" in case else None
    tiny.fill(backbone.model, tiny.POLICY)
    stream = PreferenceStream(
        backbone, method, settings, Examples(examples, reference), batch_rows=len(examples), seed=0, runtime=RUNTIME
    )
    output = stream.loss(stream.next_batch(0))
    output.loss.backward()
    assert float(output.loss.detach()) == pytest.approx(case["loss"], abs=TOLERANCE)
    close_digests(backbone.model, case["parameters"])


def given_responses(case: dict[str, Any]) -> Callable[..., ScoredRollouts]:
    """Stands for the sampler: the responses and scores of a golden case."""

    def collect(indices: Any, purpose: object) -> ScoredRollouts:
        rollouts, scores = [], []
        for group, index in enumerate(indices):
            for row, (prompt, response) in enumerate(zip(case["prompts"], case["responses"], strict=True)):
                if case["groups"][row] == index:
                    segments = (
                        Segment("user", prompt),
                        Segment("assistant", response, True, 1.0, [0.0] * len(response)),
                    )
                    rollouts.append(Rollout(segments, str(index), group, "", 0, 0, "length"))
                    scores.append(case["scores"][row])
        return ScoredRollouts(rollouts, scores, [{}] * len(rollouts), [None] * len(rollouts))

    return collect


@pytest.mark.parametrize(
    ("name", "method", "settings"),
    [("grpo_kl", grpo, grpo.Settings()), ("rloo_kl", rloo, rloo.Settings())],
)
def test_a_step_on_responses_has_the_gradient_of_trl_at_every_weight(
    backbone: Backbone, name: str, method: Any, settings: Any
) -> None:
    """Collected, scored and compared under the weights that sampled; the loss is taken after an update."""
    case = golden("policies")[name]
    collector = Collector(
        given_responses(case),
        given_responses(case),
        method.needs(settings),
        Plan(3, 3, 4, 1, 1, 1.0, case["max_length"]),
        3,
        0,
        torch.device("cpu"),
        ShapingSettings(missing_eos_score=None),
    )
    stream = RolloutStream(
        actor=Actor(backbone, None),
        method=method,
        settings=settings,
        collector=collector,
        controller=FixedKL(0.1),
        precision="fp32",
        seed=0,
        micro_batch=5,
    )
    tiny.fill(backbone.model, tiny.REFERENCE)
    backbone.model.requires_grad_(True)
    backbone.keep_reference()
    tiny.fill(backbone.model, tiny.OLD)
    batch = stream.next_batch(1)  # not the first one, at which the policy has to be the reference
    assert batch is not None
    tiny.fill(backbone.model, tiny.POLICY)
    total = 0.0
    for start in range(0, len(batch), 5):
        output = stream.loss(batch.slice(slice(start, start + 5)))
        output.loss.backward()
        total += float(output.loss.detach())
    (step,) = case["steps"]
    assert total == pytest.approx(sum(part["loss"] for part in step["parts"]), abs=TOLERANCE)
    close_digests(backbone.model, step["parameters"])
