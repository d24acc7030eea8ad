"""A trlX PPO configuration, as its published scripts write it, as settings of our stage `rl`.

Every key is either translated, known to have no counterpart (with the reason), or refused. `TABLE` is the documentation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from tuningfork.errors import RecipeError

TABLE: tuple[tuple[str, str, str], ...] = (
    ("train.batch_size", "rl.minibatches", "rollouts per iteration / batch_size"),
    ("train.total_steps", "rl.iterations", "optimizer steps / (epochs x mini-batches), rounded up"),
    ("train.eval_interval", "rl.monitor.every", "in iterations instead of optimizer steps, rounded, at least 1"),
    ("train.epochs", "-", "passes over the prompts; ours end by iterations alone"),
    ("train.seq_length", "-", "the model's own context; a longer prompt is refused by name"),
    ("train.checkpoint_interval", "-", "checkpoints come every minute and at a stop"),
    ("train.seed", "seed", "the recipe's seed"),
    ("model.model_path", "rl.policy", "a folder, a hub id or an earlier stage"),
    ("model.num_layers_unfrozen", "rl.adapter", "{kind: unfreeze, last_layers: n}; -1 is {kind: full}"),
    ("model.peft_config", "rl.adapter", "{kind: lora, ...}: r, alpha, dropout, modules, the last k layers"),
    ("tokenizer.tokenizer_path", "-", "the tokenizer of the model's folder"),
    ("tokenizer.truncation_side", "-", "prompts are never cut"),
    ("optimizer.name", "-", "adamw"),
    ("optimizer.kwargs.lr", "rl.optimizer.learning_rate", ""),
    ("optimizer.kwargs.betas", "rl.optimizer.betas", ""),
    ("optimizer.kwargs.eps", "rl.optimizer.eps", ""),
    (
        "optimizer.kwargs.weight_decay",
        "rl.optimizer.weight_decay",
        "matrices only; embeddings, biases and norms never decay",
    ),
    ("scheduler.name", "rl.optimizer.schedule", "cosine_annealing is cosine"),
    ("scheduler.kwargs.eta_min", "rl.optimizer.floor", "as a share of the peak"),
    ("scheduler.kwargs.T_max", "-", "the decay always ends with the run"),
    ("method.num_rollouts", "rl.prompts_per_iteration", "with one sample per prompt"),
    ("method.chunk_size", "rl.chunk", "responses sampled and scored at a time"),
    ("method.ppo_epochs", "rl.method.epochs", ""),
    ("method.init_kl_coef", "rl.kl.coefficient", ""),
    ("method.target", "rl.kl.target", "nats per sequence; null keeps the coefficient fixed"),
    ("method.horizon", "rl.kl.horizon", "only with a target"),
    ("method.gamma", "rl.method.gamma", ""),
    ("method.lam", "rl.method.lam", ""),
    ("method.cliprange", "rl.method.clip_range", ""),
    ("method.cliprange_value", "rl.method.value_clip_range", ""),
    ("method.vf_coef", "rl.method.value_coefficient", "theirs weighs the same 1/2 (V - R)^2"),
    (
        "method.scale_reward",
        "rl.scale_reward.by",
        "ref is reference; ignored, False and None are none; running has no counterpart",
    ),
    ("method.ref_mean", "rl.scale_reward.mean", "only with scale_reward: ref"),
    ("method.ref_std", "rl.scale_reward.deviation", "only with scale_reward: ref"),
    ("method.cliprange_reward", "rl.shaping.clip", ""),
    ("method.gen_kwargs.max_new_tokens", "rl.sampling.max_new_tokens", ""),
    ("method.gen_kwargs.temperature", "rl.sampling.temperature", ""),
    ("method.gen_kwargs.top_k", "rl.sampling.top_k", "0 keeps all"),
    ("method.gen_kwargs.top_p", "rl.sampling.top_p", ""),
    ("method.gen_kwargs.do_sample", "-", "always"),
)
"""(their key, ours or -, how)"""


def from_trlx(config: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of the stage `rl` (without policy, prompts, reward and adapter's modules) from a nested trlX dictionary.

    RecipeError for a key that is not in `TABLE`, and for values without a counterpart.
    """
    flat = _flatten(config)
    known = {theirs for theirs, _, _ in TABLE} | {"train.pipeline", "train.trainer", "train.save_best", "method.name"}
    unknown = sorted(key for key in flat if key not in known and not key.startswith("model.peft_config"))
    if unknown:
        raise RecipeError(f"trlX key {unknown[0]!r} has no counterpart here; see the table in docs/trlx.md")
    method, train = config.get("method", {}), config.get("train", {})
    rollouts, batch = method.get("num_rollouts", 128), train.get("batch_size", 32)
    if rollouts % batch:
        raise RecipeError(
            f"num_rollouts {rollouts} is not a multiple of batch_size {batch}; mini-batches would differ in size"
        )
    epochs, minibatches = method.get("ppo_epochs", 4), rollouts // batch
    steps = epochs * minibatches
    settings: dict[str, Any] = {
        "prompts_per_iteration": rollouts,
        "samples_per_prompt": 1,
        "minibatches": minibatches,
        "iterations": math.ceil(train.get("total_steps", 10_000) / steps),
        "chunk": method.get("chunk_size"),
        "method": {
            "name": "ppo",
            "epochs": epochs,
            "gamma": method.get("gamma", 1.0),
            "lam": method.get("lam", 0.95),
            "clip_range": method.get("cliprange", 0.2),
            "value_clip_range": method.get("cliprange_value", 0.2),
            "value_coefficient": method.get("vf_coef", 1.0),
        },
        "kl": _kl(method),
        "scale_reward": _scale(method),
        "shaping": {"missing_eos_score": None, "clip": method.get("cliprange_reward", 10)},
        "optimizer": _optimizer(config),
        "sampling": {k: v for k, v in method.get("gen_kwargs", {}).items() if k != "do_sample"},
    }
    unfrozen = config.get("model", {}).get("num_layers_unfrozen")
    if unfrozen is not None:
        settings["adapter"] = {"kind": "full"} if unfrozen < 0 else {"kind": "unfreeze", "last_layers": unfrozen}
    return settings


def monitor_every(config: Mapping[str, Any]) -> int:
    """Iterations between two looks at the monitor prompts: `eval_interval` is in optimizer steps."""
    method, train = config.get("method", {}), config.get("train", {})
    steps = method.get("ppo_epochs", 4) * method.get("num_rollouts", 128) // train.get("batch_size", 32)
    return max(1, round(train.get("eval_interval", 100) / steps))


def _kl(method: Mapping[str, Any]) -> dict[str, Any]:
    target = method.get("target")
    kl = {"coefficient": method.get("init_kl_coef", 0.001)}
    return kl if target is None else kl | {"target": target, "horizon": method.get("horizon", 10_000)}


def _scale(method: Mapping[str, Any]) -> dict[str, Any]:
    scale = method.get("scale_reward")
    if scale in (None, False, "ignored"):
        return {"by": "none"}
    if scale == "ref":
        found = {"mean": method.get("ref_mean"), "deviation": method.get("ref_std")}
        return {"by": "reference", **{name: value for name, value in found.items() if value is not None}}
    raise RecipeError(
        f"trlX scale_reward {scale!r} has no counterpart here; `ref` scales by the reference's own answers"
    )


def _optimizer(config: Mapping[str, Any]) -> dict[str, Any]:
    optimizer, scheduler = config.get("optimizer", {}), config.get("scheduler", {})
    if optimizer.get("name", "adamw") != "adamw":
        raise RecipeError(f"trlX optimizer {optimizer['name']!r} has no counterpart here; use adamw")
    kwargs = optimizer.get("kwargs", {})
    rate = kwargs.get("lr", 3e-5)
    found: dict[str, Any] = {"learning_rate": rate, "warmup": 0, "schedule": "constant"}
    found |= {name: kwargs[name] for name in ("betas", "eps", "weight_decay") if name in kwargs}
    if scheduler.get("name") == "cosine_annealing":
        found |= {"schedule": "cosine", "floor": scheduler.get("kwargs", {}).get("eta_min", 0.0) / rate}
    return found


def _flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in config.items():
        flat |= _flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def table() -> str:
    """The table as Markdown, for the docs."""
    lines = ["| trlX | here | how |", "|---|---|---|"]
    return "\n".join(lines + [f"| `{a}` | {f'`{b}`' if b != '-' else '-'} | {c} |" for a, b, c in TABLE]) + "\n"
