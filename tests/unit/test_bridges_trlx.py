"""The published trlX configuration runs here, and nothing of it is dropped in silence."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

from tuningfork.bridges.trlx import TABLE, from_trlx, monitor_every, table
from tuningfork.errors import RecipeError
from tuningfork.stages.rl import StageSettings

PUBLISHED = {
    "train": {
        "seq_length": 1024,
        "epochs": 100,
        "total_steps": 10_000,
        "batch_size": 32,
        "checkpoint_interval": 10_000,
        "eval_interval": 100,
        "pipeline": "PromptPipeline",
        "trainer": "AcceleratePPOTrainer",
    },
    "model": {"model_path": "facebook/opt-1.3b", "num_layers_unfrozen": 2},
    "tokenizer": {"tokenizer_path": "facebook/opt-1.3b", "truncation_side": "right"},
    "optimizer": {"name": "adamw", "kwargs": {"lr": 1e-4, "betas": (0.9, 0.95), "eps": 1e-8, "weight_decay": 1e-6}},
    "scheduler": {"name": "cosine_annealing", "kwargs": {"T_max": 10_000, "eta_min": 1e-4}},
    "method": {
        "name": "PPOConfig",
        "num_rollouts": 128,
        "chunk_size": 128,
        "ppo_epochs": 4,
        "init_kl_coef": 0.05,
        "target": 6,
        "horizon": 10_000,
        "gamma": 1,
        "lam": 0.95,
        "cliprange": 0.2,
        "cliprange_value": 0.2,
        "vf_coef": 1,
        "scale_reward": "ignored",
        "ref_mean": None,
        "ref_std": None,
        "cliprange_reward": 10,
        "gen_kwargs": {"max_new_tokens": 40, "top_k": 0, "top_p": 1.0, "do_sample": True},
    },
}


def settings(config: dict) -> StageSettings:
    rest = {"policy": "sft/model", "prompts": "p.jsonl", "reward": {"name": "learned", "model": "reward/model"}}
    return StageSettings.model_validate(from_trlx(config) | rest)


def test_the_published_numbers_arrive() -> None:
    found = settings(PUBLISHED)
    assert (found.iterations, found.minibatches, found.prompts_per_iteration, found.chunk) == (625, 4, 128, 128)
    method = found.method
    assert (method.epochs, method.gamma, method.lam, method.clip_range) == (4, 1.0, 0.95, 0.2)
    assert (method.value_clip_range, method.value_coefficient) == (0.2, 1.0)
    assert (found.kl.coefficient, found.kl.target, found.kl.horizon) == (0.05, 6.0, 10_000)
    optimizer = found.optimizer
    assert (optimizer.learning_rate, optimizer.betas, optimizer.eps) == (1e-4, (0.9, 0.95), 1e-8)
    assert (optimizer.schedule, optimizer.floor, optimizer.weight_decay) == ("cosine", 1.0, 1e-6)
    assert (found.shaping.clip, found.shaping.missing_eos_score, found.scale_reward.by) == (10.0, None, "none")
    assert (found.sampling.max_new_tokens, found.sampling.top_k, found.sampling.top_p) == (40, 0, 1.0)
    assert found.adapter.model_dump() == {"kind": "unfreeze", "last_layers": 2}
    assert monitor_every(PUBLISHED) == 6  # 100 optimizer steps at 16 an iteration


def test_the_number_of_updates_is_theirs() -> None:
    found = settings(PUBLISHED)
    assert found.iterations * found.method.epochs * found.minibatches == PUBLISHED["train"]["total_steps"]


@pytest.mark.parametrize(
    ("section", "key", "value", "message"),
    [
        ("method", "cliprang", 0.2, "no counterpart"),
        ("method", "scale_reward", "running", "scale_reward 'running'"),
        ("train", "batch_size", 30, "not a multiple"),
        ("optimizer", "name", "lion", "use adamw"),
    ],
)
def test_what_cannot_be_said_here_is_refused(section: str, key: str, value: object, message: str) -> None:
    config = copy.deepcopy(PUBLISHED)
    config[section][key] = value
    with pytest.raises(RecipeError, match=message):
        from_trlx(config)


def test_scaling_by_the_reference() -> None:
    config = copy.deepcopy(PUBLISHED)
    config["method"] |= {"scale_reward": "ref", "ref_mean": 0.5, "ref_std": 2.0}
    scale = settings(config).scale_reward
    assert (scale.by, scale.mean, scale.deviation) == ("reference", 0.5, 2.0)


def test_every_row_of_the_table_names_a_real_setting() -> None:
    for _, ours, _ in TABLE:
        if ours not in ("-", "seed"):
            head, _, _ = ours.removeprefix("rl.").partition(".")
            assert head in StageSettings.model_fields, ours


def test_the_docs_hold_the_table() -> None:
    assert table() in (Path(__file__).parents[2] / "docs" / "trlx.md").read_text(encoding="utf-8")
