"""trl's losses of sampled responses: the variants of GRPO, and RLOO, from scores to the gradient.

What is sampled is given, and one update is taken as done: log-probabilities under the policy that sampled are of other
weights than those the loss is taken at, so that ratios leave 1 and clips act. All else is trl's own code: rewards, their KL,
advantages, the shuffle, the cut into micro-batches and optimizer steps, and the loss.
"""
# pyright: reportMissingImports=false

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from typing import Any

import torch
from datasets import Dataset
from recording import Recorder, arguments
from tiny import EOS, OLD, POLICY, REFERENCE, decoder, digest, fill, text, tokenizer

GROUP = 4
"""Responses to a prompt."""
PROMPTS = [text(0, 1, 2), text(6), text(9, 8)]
RESPONSES = [
    [7, 8, EOS],
    [9, EOS],
    [4, 4, 5, 10, 15, EOS],
    [12, 13, 14, 15, 4, 5],
    [5, EOS],
    [8, 8, 8, 8, EOS],
    [15, 10, 5],
    [11, 4, 9, EOS],
    [6, 7, EOS],
    [13, 12, 11, 10, EOS],
    [4, EOS],
    [14, 14, 9, 6, 7, 5],
]
"""Token ids; some were cut off before their EOS."""
SCORES: list[float | None] = [1.0, -0.5, 2.0, 0.25, 1.5, -1.0, 0.5, 0.75, -2.0, 0.1, 0.4, 1.2]
FLAT: list[float | None] = [1.0, -0.5, 2.0, 0.25, 0.1, 0.1, 0.1, 0.1, -2.0, 0.1, 0.4, 1.2]
"""The second group has one score."""
UNSCORED: list[float | None] = [1.0, None, 2.0, 0.25, 1.5, -1.0, 0.5, 0.75, -2.0, None, 0.4, 1.2]
MAX_LENGTH = 8


@dataclass(frozen=True)
class Case:
    """Settings of trl and what it is given."""

    options: dict[str, Any]
    scores: list[float | None] = field(default_factory=lambda: SCORES)
    micro_batches: int = 1
    accumulation: int = 1
    is_rloo: bool = False
    is_fresh: bool = False
    """Whether nothing was updated since the responses were sampled."""


WIDE = {"epsilon": 0.2, "epsilon_high": 0.28}
GSPO = {"importance_sampling_level": "sequence", "loss_type": "grpo", "epsilon": 3e-4, "epsilon_high": 4e-4}
KL = {"beta": 0.1, "use_bias_correction_kl": False}
IN_REWARD = {"beta": 0.1}
CASES = {
    "grpo": Case({"loss_type": "grpo"}),
    "grpo_kl": Case({"loss_type": "grpo"} | KL),
    "grpo_kl_corrected": Case({"loss_type": "grpo", "beta": 0.1}),
    "grpo_kl_fresh": Case({"loss_type": "grpo", "beta": 0.1}, is_fresh=True),
    "grpo_batch_scale": Case({"loss_type": "grpo", "scale_rewards": "batch"}),
    "grpo_no_scale": Case({"loss_type": "grpo", "scale_rewards": "none"} | KL),
    "grpo_flat": Case({"loss_type": "grpo"} | KL, FLAT),
    "grpo_unscored": Case({"loss_type": "grpo"}, UNSCORED),
    "grpo_split": Case({"loss_type": "grpo"} | KL, micro_batches=4, accumulation=2),
    "grpo_entropy": Case({"loss_type": "grpo", "entropy_coef": 0.05}),
    "grpo_delta": Case({"loss_type": "grpo", "delta": 1.3}),
    "dr_grpo": Case({"loss_type": "dr_grpo", "scale_rewards": "none"}),
    "dr_grpo_kl": Case({"loss_type": "dr_grpo", "scale_rewards": "none"} | KL, micro_batches=4, accumulation=2),
    "dapo": Case({"loss_type": "dapo"} | WIDE),
    "dapo_kl": Case({"loss_type": "dapo"} | WIDE | KL),
    "dapo_entropy": Case({"loss_type": "dapo", "entropy_coef": 0.05} | WIDE),
    "dapo_split": Case({"loss_type": "dapo"} | WIDE, micro_batches=4, accumulation=2),
    "bnpo": Case({"loss_type": "bnpo"} | WIDE | KL),
    "bnpo_split": Case({"loss_type": "bnpo"} | WIDE, micro_batches=4, accumulation=2),
    "cispo": Case({"loss_type": "cispo", "epsilon_high": 1.2}),
    "cispo_kl": Case({"loss_type": "cispo", "epsilon_high": 1.2} | KL),
    "gspo": Case(GSPO),
    "gspo_kl": Case(GSPO | KL, micro_batches=4, accumulation=2),
    "gspo_wide": Case(GSPO | WIDE),
    "rloo": Case({"beta": 0.0}, is_rloo=True),
    "rloo_kl": Case(IN_REWARD, is_rloo=True),
    "rloo_unscored": Case(IN_REWARD, UNSCORED, is_rloo=True),
    "rloo_split": Case(
        IN_REWARD | {"epsilon": 0.1, "epsilon_high": 0.1}, micro_batches=4, accumulation=2, is_rloo=True
    ),
}


def record_policies() -> dict[str, Any]:
    """Losses and gradients of every case, by optimizer step."""
    return {name: _record(case) for name, case in CASES.items()}


def _record(case: Case) -> dict[str, Any]:
    trainer = _trainer(case)
    rows = [{"prompt": prompt} for prompt in PROMPTS for _ in range(GROUP)]
    fill(trainer.model, POLICY if case.is_fresh else OLD)
    old, ref = Recorder(trainer.model), Recorder(trainer.ref_model) if trainer.ref_model else None
    batches = []
    for number in range(case.micro_batches):
        trainer._step = number
        batches.append(trainer._prepare_inputs(rows))  # samples and scores for the first one, and cuts
    width = batches[0]["completion_ids"].shape[1]
    found = {
        "options": case.options,
        "scores": case.scores,
        "groups": [row // GROUP for row in range(len(rows))],
        "max_length": MAX_LENGTH,
        "prompts": tokenizer()([row["prompt"] for row in rows])["input_ids"],
        "responses": RESPONSES,
        "old_logprobs": torch.cat(old.tensors)[:, -width:].tolist(),
        "ref_logprobs": torch.cat(ref.tensors)[:, -width:].tolist() if ref else None,
    }
    fill(trainer.model, POLICY)
    trainer.current_gradient_accumulation_steps = case.accumulation
    steps = []
    for start in range(0, case.micro_batches, case.accumulation):
        trainer.model.zero_grad()
        parts = [_loss(trainer, case, batch) for batch in batches[start : start + case.accumulation]]
        steps.append({"parts": parts, "parameters": digest(trainer.model)})
    return found | {"steps": steps}


def _trainer(case: Case) -> Any:
    if case.is_rloo:
        from trl import RLOOConfig as Config
        from trl import RLOOTrainer as Trainer
    else:
        from trl import GRPOConfig as Config
        from trl import GRPOTrainer as Trainer

    def reward(prompts: list[str], **_: Any) -> list[float | None]:
        return case.scores

    with tempfile.TemporaryDirectory() as folder:
        decoder().save_pretrained(folder)  # the trainer loads its reference from where the policy came from
        trainer = Trainer(
            model=folder,
            reward_funcs=reward,
            args=Config(
                folder,
                **arguments(len(RESPONSES) // case.micro_batches),
                steps_per_generation=case.micro_batches,
                gradient_accumulation_steps=case.accumulation,
                num_iterations=2,
                num_generations=GROUP,
                max_completion_length=MAX_LENGTH,
                **case.options,
            ),
            train_dataset=Dataset.from_list([{"prompt": prompt} for prompt in PROMPTS]),
            processing_class=tokenizer(),
        )
    trainer._generate_single_turn = lambda *_: RESPONSES if case.is_rloo else (RESPONSES, None)
    trainer.model.float().train()
    if trainer.ref_model is not None:
        fill(trainer.ref_model.float(), REFERENCE)
    return trainer


def _loss(trainer: Any, case: Case, batch: dict[str, Any]) -> dict[str, Any]:
    """One micro-batch, in the order in which trl shuffled it; `rows` says which responses these are."""
    recorder, entropies = Recorder(trainer.model), Recorder(trainer.model, "entropy")
    loss = trainer.compute_loss(trainer.model, batch)
    if case.is_rloo:  # transformers' training step divides the loss; GRPO does it itself
        loss = loss / case.accumulation
    loss.backward()
    lengths, width = batch["completion_mask"].sum(-1).tolist(), batch["completion_ids"].shape[1]
    responses = [row[:length] for row, length in zip(batch["completion_ids"].tolist(), lengths, strict=True)]
    found = {
        "rows": [RESPONSES.index(response) for response in responses],
        "advantages": batch["advantages"].tolist(),
        "logprobs": recorder.tensors[0][:, -width:].tolist(),
        "loss": loss.item(),
        "gradient": [row[-width:] for row in recorder.gradient(0)],
    }
    if "entropy_coef" in case.options:
        found["entropy"] = entropies.tensors[0][:, -width:].tolist()
        found["entropy_gradient"] = [row[-width:] for row in entropies.gradient(0)]
    return found


def record_overlong() -> dict[str, Any]:
    """DAPO's soft punishment of long responses, trl's reward function."""
    from trl.rewards import get_soft_overlong_punishment

    lengths = list(range(1, 24))
    punish = get_soft_overlong_punishment(max_completion_len=20, soft_punish_cache=6)
    return {
        "max_length": 20,
        "buffer": 6,
        "lengths": lengths,
        "penalties": punish(completion_ids=[[0] * length for length in lengths]),
    }
