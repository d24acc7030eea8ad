"""trl's losses of pairs and of single responses: DPO's family, CPO (SimPO), ORPO, KTO, and the reward model's."""
# pyright: reportMissingImports=false

from __future__ import annotations

import copy
import tempfile
from typing import Any

import torch
from datasets import Dataset
from recording import Recorder, arguments
from tiny import MODEL, POLICY, REFERENCE, answer, decoder, digest, fill, text, tokenizer

PAIRS = [
    {"prompt": text(0, 1, 2), "chosen": answer(3, 4), "rejected": answer(5)},
    {"prompt": text(6), "chosen": answer(7, 8, 9, 10), "rejected": answer(11, 0)},
    {"prompt": text(2, 2), "chosen": answer(1), "rejected": answer(4, 3, 8, 9, 5)},
    {"prompt": text(9, 8, 7, 6), "chosen": answer(5, 6, 7), "rejected": answer(7, 6, 5)},
    {"prompt": text(10, 11), "chosen": answer(0, 0, 3, 1, 2), "rejected": answer(1, 10, 4)},
]
"""Ragged prompts and responses; trl joins them as they are, and puts EOS behind."""
EQUAL_PAIRS = [
    {"prompt": "<bos>", "chosen": answer(5, 1, 9), "rejected": answer(2)},
    {"prompt": "<bos>", "chosen": answer(10, 10, 0), "rejected": answer(4, 7, 11, 6)},
    {"prompt": "<bos>", "chosen": answer(6, 2, 4), "rejected": answer(3, 0)},
]
"""Prompts of one token and chosen responses of one length: a mean over tokens is a mean over responses, and a mean over
prompt and response, whose first token nothing predicts, is one over the response. (ORPO's and CPO's trainers put <bos> before
a prompt that lacks it.)"""
FEEDBACK = [
    {"prompt": row["prompt"], "completion": row[kind], "label": kind == "chosen"}
    for row, kind in zip(PAIRS, ["chosen", "rejected", "rejected", "chosen", "chosen"], strict=True)
]


def record_pairs() -> dict[str, Any]:
    """Losses and gradients of every loss of pairs."""
    found: dict[str, Any] = {}
    dpo = {
        "dpo": {"loss_type": ["sigmoid"], "beta": 0.3},
        "dpo_smoothed": {"loss_type": ["sigmoid"], "beta": 0.3, "label_smoothing": 0.2},
        "robust": {"loss_type": ["robust"], "beta": 0.3, "label_smoothing": 0.2},
        "ipo": {"loss_type": ["ipo"], "beta": 0.4},
        "hinge": {"loss_type": ["hinge"], "beta": 0.6},
        "rpo": {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 0.7], "beta": 0.3},
    }
    for name, options in dpo.items():
        found[name] = _dpo(PAIRS, options)
    swapped = [row | {"chosen": row["rejected"], "rejected": row["chosen"]} for row in PAIRS]
    found["dpo_swapped"] = _dpo(swapped, dpo["dpo"])
    found["rpo_equal"] = _dpo(EQUAL_PAIRS, dpo["rpo"])
    simpo = {"loss_type": "simpo", "beta": 2.0, "simpo_gamma": 1.2, "cpo_alpha": 0.0}
    found["simpo"] = _without_reference("cpo", PAIRS, simpo)
    found["simpo_nll"] = _without_reference("cpo", PAIRS, simpo | {"cpo_alpha": 0.5})
    found["simpo_nll_equal"] = _without_reference("cpo", EQUAL_PAIRS, simpo | {"cpo_alpha": 0.5})
    found["cpo_hinge"] = _without_reference("cpo", PAIRS, {"loss_type": "hinge", "beta": 0.4, "cpo_alpha": 0.0})
    found["orpo"] = _without_reference("orpo", PAIRS, {"beta": 0.25})
    found["orpo_equal"] = _without_reference("orpo", EQUAL_PAIRS, {"beta": 0.25})
    return found


def _dpo(rows: list[dict[str, str]], options: dict[str, Any]) -> dict[str, Any]:
    from trl import DPOConfig, DPOTrainer

    reference = decoder()
    fill(reference, REFERENCE)
    with tempfile.TemporaryDirectory() as folder:
        trainer = DPOTrainer(
            model=decoder(),
            ref_model=reference,
            args=DPOConfig(folder, **arguments(len(rows)), **options),
            train_dataset=Dataset.from_list(rows),
            processing_class=tokenizer(),
        )
    inputs = trainer.data_collator([trainer.train_dataset[i] for i in range(len(rows))])
    policy, of_reference = Recorder(trainer.model), Recorder(trainer.ref_model)
    loss = trainer.compute_loss(trainer.model.train(), inputs)
    loss.backward()
    return {
        "options": options,
        "ids": inputs["input_ids"].tolist(),
        "attention": inputs["attention_mask"].tolist(),
        "completion": inputs["completion_mask"].tolist(),
        "logprobs": policy.tensors[0].tolist(),
        "ref_logprobs": of_reference.tensors[0].tolist(),
        "loss": loss.item(),
        "gradient": policy.gradient(0),
        "parameters": digest(trainer.model),
    }


def _without_reference(kind: str, rows: list[dict[str, str]], options: dict[str, Any]) -> dict[str, Any]:
    """CPO and ORPO have the logits themselves, so their gradient is that of logits."""
    if kind == "cpo":
        from trl.experimental.cpo import CPOConfig as Config
        from trl.experimental.cpo import CPOTrainer as Trainer
    else:
        from trl.experimental.orpo import ORPOConfig as Config
        from trl.experimental.orpo import ORPOTrainer as Trainer
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model=decoder(),
            args=Config(folder, **arguments(len(rows)), **options),
            train_dataset=Dataset.from_list(rows),
            processing_class=tokenizer(),
        )
    inputs = trainer.data_collator([trainer.train_dataset[i] for i in range(len(rows))])
    joined = trainer.concatenated_inputs(inputs, padding_value=0)
    policy = Recorder(trainer.model, field="logits")
    loss, _ = trainer.get_batch_loss_metrics(trainer.model.train(), inputs)
    loss.backward()
    labels = joined["concatenated_labels"]
    return {
        "options": options,
        "ids": joined["concatenated_input_ids"].tolist(),
        "attention": joined["concatenated_attention_mask"].tolist(),
        "completion": (labels != -100).long().tolist(),
        "logits": policy.tensors[0].tolist(),
        "loss": loss.item(),
        "gradient": policy.gradient(0),
        "parameters": digest(trainer.model),
    }


def record_feedback() -> dict[str, Any]:
    """KTO: weights of both kinds, z above 0 (`other_way`) and z held at 0, and a batch of one kind."""
    weights = {"beta": 0.4, "desirable_weight": 1.3, "undesirable_weight": 0.8}
    one_kind = [row | {"label": True} for row in FEEDBACK]
    cases = {
        "kto": (FEEDBACK, weights, POLICY),
        "kto_other_way": (FEEDBACK, weights, REFERENCE),
        "kto_one_kind": (one_kind, {"beta": 0.4}, POLICY),
    }
    return {name: _kto(*case) for name, case in cases.items()}


def _kto(rows: list[dict[str, Any]], options: dict[str, Any], weights: tuple[float, float]) -> dict[str, Any]:
    from trl import KTOConfig, KTOTrainer

    model, reference = decoder(), decoder()
    fill(model, weights)
    fill(reference, POLICY if weights == REFERENCE else REFERENCE)
    with tempfile.TemporaryDirectory() as folder:
        trainer = KTOTrainer(
            model=model,
            ref_model=reference,
            args=KTOConfig(folder, **arguments(len(rows)), **options),
            train_dataset=Dataset.from_list(rows),
            processing_class=tokenizer(),
        )
    inputs = trainer.data_collator([trainer.train_dataset[i] for i in range(len(rows))])
    policy, of_reference = Recorder(trainer.model), Recorder(trainer.ref_model)
    loss = trainer.compute_loss(trainer.model.train(), copy.copy(inputs))
    loss.backward()
    # Both models are asked twice: for responses to other prompts, from which z comes, then for those to learn from.
    return {
        "options": options,
        "completion": inputs["completion_mask"].tolist(),
        "labels": inputs["label"].tolist(),
        "logprobs": policy.tensors[1].tolist(),
        "ref_logprobs": of_reference.tensors[1].tolist(),
        "other_completion": inputs["KL_completion_mask"].tolist(),
        "other_logprobs": policy.tensors[0].tolist(),
        "other_ref_logprobs": of_reference.tensors[0].tolist(),
        "kl": trainer._metrics["train"]["kl"][-1],
        "loss": loss.item(),
        "gradient": policy.gradient(1),
    }


def record_rewards() -> dict[str, Any]:
    """The reward model's loss: alone, with margins, with a pull to 0, and with both."""
    cases = {
        "reward": ({}, None),
        "reward_margin": ({}, [0.5, 0.0, 1.0, 2.0, 0.25]),
        "reward_centred": ({"center_rewards_coefficient": 0.05}, None),
        "reward_both": ({"center_rewards_coefficient": 0.05}, [0.5, 0.0, 1.0, 2.0, 0.25]),
    }
    return {name: _reward(*case) for name, case in cases.items()}


def _reward(options: dict[str, Any], margins: list[float] | None) -> dict[str, Any]:
    from transformers import LlamaConfig, LlamaForSequenceClassification
    from trl import RewardConfig, RewardTrainer

    model = LlamaForSequenceClassification(LlamaConfig.from_dict(MODEL | {"num_labels": 1}))
    fill(model, POLICY)
    rows: list[dict[str, Any]] = [dict(row) for row in PAIRS]
    for row, margin in zip(rows, margins or [], strict=False):
        row["margin"] = margin
    with tempfile.TemporaryDirectory() as folder:
        trainer = RewardTrainer(
            model=model,
            args=RewardConfig(folder, **arguments(len(rows)), **options),
            train_dataset=Dataset.from_list(rows),
            processing_class=tokenizer(),
        )
    inputs = trainer.data_collator([trainer.train_dataset[i] for i in range(len(rows))])
    recorder = Recorder(trainer.model, field="logits")
    loss = trainer.compute_loss(trainer.model.train(), dict(inputs))
    loss.backward()
    scores = recorder.tensors[0]
    assert isinstance(scores, torch.Tensor)
    return {
        "options": options,
        "margins": margins or [0.0] * len(rows),
        "scores": scores.squeeze(-1).tolist(),
        "loss": loss.item(),
        "gradient": [slope for (slope,) in recorder.gradient(0)],
    }
