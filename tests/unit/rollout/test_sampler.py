"""The in-process engine against transformers' `generate` and against itself in other batches."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import torch
from sampler_models import EOS, PAD, VOCABULARY, Causal, gpt2, llama
from scipy.stats import chisquare
from transformers import GenerationConfig

from tuningfork.errors import ModelError
from tuningfork.model.backbone import Backbone
from tuningfork.model.tokenizer import train_tokenizer
from tuningfork.rollout.batching import BatchLimits
from tuningfork.rollout.engine import Request
from tuningfork.rollout.sampler import LocalEngine
from tuningfork.rollout.settings import SamplingSettings
from tuningfork.runtime import Runtime
from tuningfork.tensors import token_logprobs

MODELS = pytest.mark.parametrize("make", [llama, gpt2])


def ragged_prompts(count: int, seed: int = 0) -> list[list[int]]:
    source = random.Random(seed)
    return [[source.randrange(2, VOCABULARY) for _ in range(source.randrange(1, 20))] for _ in range(count)]


def logits_of(backbone: Causal, prompt: list[int], response: list[int]) -> torch.Tensor:
    """Logits (N, V) of the N response tokens, in one forward without padding or cache."""
    with torch.no_grad():
        return backbone.model(input_ids=torch.tensor([prompt + response])).logits[0, len(prompt) - 1 : -1]


@MODELS
def test_greedy_equals_generate_on_ragged_prompts(make: Callable[[], Causal]) -> None:
    backbone = make()
    prompts = ragged_prompts(12)
    completions = LocalEngine(backbone).generate(
        [Request(prompt, [0]) for prompt in prompts], SamplingSettings(max_new_tokens=24, greedy=True)
    )
    config = GenerationConfig(max_new_tokens=24, do_sample=False, eos_token_id=EOS, pad_token_id=PAD)
    for prompt, completion in zip(prompts, completions, strict=True):
        ids = torch.tensor([prompt])
        full = backbone.model.generate(ids, attention_mask=torch.ones_like(ids), generation_config=config)
        assert completion.token_ids == full[0, len(prompt) :].tolist()
    assert {completion.finish_reason for completion in completions} == {"stop", "length"}


@MODELS
def test_logprobs_are_those_of_the_sampling_distribution(make: Callable[[], Causal]) -> None:
    """Recomputed without cache and padding, at the temperature, for every token of ragged rows."""
    backbone, prompts = make(), ragged_prompts(10, seed=3)
    settings = SamplingSettings(max_new_tokens=16, temperature=1.7)
    for completion in LocalEngine(backbone).generate([Request(p, [1, 2]) for p in prompts], settings):
        logits = logits_of(backbone, prompts[completion.request_index], completion.token_ids)
        wanted = token_logprobs(logits[None], torch.tensor([completion.token_ids]), temperature=1.7)[0]
        assert torch.allclose(torch.tensor(completion.logprobs), wanted, atol=1e-4)


@MODELS
def test_a_response_does_not_depend_on_batch_row_or_order(make: Callable[[], Causal]) -> None:
    backbone = make()
    requests = [Request(prompt, [100 * index + n for n in range(3)]) for index, prompt in enumerate(ragged_prompts(6))]
    settings = SamplingSettings(max_new_tokens=10)
    wanted = {c.key: (c.token_ids, c.finish_reason) for c in LocalEngine(backbone).generate(requests, settings)}
    assert len({tuple(ids) for ids, _ in wanted.values()}) > 12
    single = [Request(request.prompt_ids, [key]) for request in requests for key in request.keys]
    shuffled = random.Random(5).sample(single, len(single))
    for order, limits in (
        (requests[::-1], BatchLimits()),
        (requests, BatchLimits(rows=1)),
        (shuffled, BatchLimits(rows=4)),
        (shuffled, BatchLimits(tokens=100)),
    ):
        completions = LocalEngine(backbone, limits=limits).generate(order, settings)
        assert {c.key: (c.token_ids, c.finish_reason) for c in completions} == wanted
        assert [c.key for c in completions] == [key for request in order for key in request.keys]


@MODELS
def test_the_backbone_is_such_a_model(make: Callable[[], Causal]) -> None:
    """The same weights behind the package's own model layer give the same responses, and its stop ids end them."""
    tokenizer = train_tokenizer(["the sky is blue"] * 4, 300)
    plain = make()
    plain.model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    backbone = Backbone(plain.model, tokenizer)
    plain.stop_ids = backbone.stop_ids
    assert tokenizer.eos_token_id in backbone.stop_ids
    requests = [Request(prompt, [1, 2]) for prompt in ragged_prompts(5)]
    settings = SamplingSettings(max_new_tokens=12, temperature=1.5)
    ours = LocalEngine(backbone, runtime=Runtime("cpu", "fp32", 1)).generate(requests, settings)
    assert [c.token_ids for c in ours] == [c.token_ids for c in LocalEngine(plain).generate(requests, settings)]


def test_first_tokens_follow_the_models_distribution() -> None:
    backbone = llama()
    prompt = [5, 9, 4]
    completions = LocalEngine(backbone).generate([Request(prompt, range(8000))], SamplingSettings(max_new_tokens=1))
    counts = torch.bincount(torch.tensor([c.token_ids[0] for c in completions]), minlength=VOCABULARY)
    expected = logits_of(backbone, prompt, [EOS])[0].double().softmax(-1) * len(completions)
    is_common = expected > 5
    rest = [counts[~is_common].sum(), expected[~is_common].sum()]
    observed, wanted = counts[is_common].tolist(), expected[is_common].tolist()
    assert len(observed) > 8
    assert chisquare([*observed, int(rest[0])], [*wanted, float(rest[1])]).pvalue > 0.01


def test_responses_end_with_their_only_stop_token() -> None:
    completions = LocalEngine(llama(stop_ids=(EOS, 7))).generate(
        [Request(prompt, range(6)) for prompt in ragged_prompts(8)], SamplingSettings(max_new_tokens=40)
    )
    ends = {completion.token_ids[-1] for completion in completions if completion.finish_reason == "stop"}
    assert ends == {EOS, 7}
    for completion in completions:
        assert len(completion.logprobs) == len(completion.token_ids)
        assert not {EOS, 7} & set(completion.token_ids[:-1])
        if completion.finish_reason == "length":
            assert len(completion.token_ids) == 40
            assert completion.token_ids[-1] not in (EOS, 7)


def test_a_shared_prompt_is_prefilled_once_and_finished_rows_leave() -> None:
    backbone = llama()
    prompt = [5, 9, 4, 8]
    completions = LocalEngine(backbone).generate([Request(prompt, range(64))], SamplingSettings(max_new_tokens=40))
    lengths = sorted(len(completion.token_ids) for completion in completions)
    assert lengths[0] < 10
    assert lengths[32] < 40
    num_needed = sum(length - 1 for length in lengths)
    # an eighth of the rows may have finished and still be there; without compaction every row would run to the end
    assert backbone.num_tokens - len(prompt) < num_needed * 8 / 7 + len(lengths)
    assert backbone.num_forwards == lengths[-1]


def test_the_context_bounds_responses_and_the_user_is_told() -> None:
    said: list[str] = []
    backbone = llama(max_length=12, stop_ids=())
    requests = [Request([5] * 8, [0]), Request([5] * 11, [0]), Request([5] * 2, [0])]
    completions = LocalEngine(backbone, say=said.append).generate(requests, SamplingSettings(max_new_tokens=6))
    assert [len(completion.token_ids) for completion in completions] == [4, 1, 6]
    assert {completion.finish_reason for completion in completions} == {"length"}
    assert len(said) == 1
    assert said[0].startswith("2 responses may have fewer than max_new_tokens = 6 tokens (least: 1)")


def test_diverged_weights_stop_the_run_with_a_message() -> None:
    backbone = llama()
    with torch.no_grad():
        backbone.model.lm_head.weight[3, 0] = float("nan")
    with pytest.raises(ModelError, match="logits for prompt 1 are not finite"):
        LocalEngine(backbone).generate([Request([5, 6], [0])], SamplingSettings(max_new_tokens=3))


def test_the_model_is_left_as_it_was() -> None:
    backbone = llama()
    backbone.model.train()
    LocalEngine(backbone).generate([Request([5, 6], [0])], SamplingSettings(max_new_tokens=3))
    assert backbone.model.training
    assert torch.is_grad_enabled()


def test_progress_and_policy_version_are_reported() -> None:
    engine = LocalEngine(llama(), limits=BatchLimits(rows=2))
    engine.update_weights((), version=4)
    finished: list[int] = []
    completions = engine.generate([Request([5], range(5))], SamplingSettings(max_new_tokens=2), advance=finished.append)
    assert finished == [2, 2, 1]
    assert {completion.policy_version for completion in completions} == {4}
