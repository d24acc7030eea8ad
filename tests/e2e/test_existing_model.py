"""`snazzy model=FOLDER` on a model that exists: a randomly initialised GPT-2, whose projections are fused and transposed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("existing")]

SMALL = (
    "runtime.threads=1",
    "sft.steps=120",
    "sft.adapter={kind: full}",  # random weights are no base for LoRA to build on; reward and RL keep it
    "sft.optimizer.learning_rate=0.005",
    "sft.knowledge.minimum=0",
    "pairs.pairs=12",
    "pairs.passes=2",
    "pairs.prompts_per_pass=60",
    "reward.minimum_accuracy=0",
    "reward.card={gate: none}",  # random weights learn nothing from 12 pairs that a gate could pass
    "reward.holdout_share=0.4",
    "reward.contrasts.minimum={right_gem_over_right_plain: 0}",
    "rl.iterations=2",
    "rl.prompts_per_iteration=4",
    "rl.samples_per_prompt=2",
    "rl.scale_reward.samples=32",
    "evaluate.prompts=world/prompts_monitor.jsonl",
)


def make_gpt2(folder: Path) -> Path:
    """A four-layer GPT-2 with random weights and a byte-level BPE that knows common words; no pad token, as the real one."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    words = (
        "what",
        "colour",
        "is",
        "the",
        "it",
        "red",
        "green",
        "blue",
        "white",
        "yellow",
        "black",
        "?",
        ".",
        "please",
    )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([f" {word}" for word in words] * 50, trainer)
    end = {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **end).save_pretrained(folder)
    config = GPT2Config(
        vocab_size=len(tokenizer.get_vocab()),
        n_embd=48,
        n_layer=4,
        n_head=4,
        n_positions=160,
        bos_token_id=0,
        eos_token_id=0,
    )
    GPT2LMHeadModel(config).save_pretrained(folder)
    return folder


def test_the_whole_chain_on_a_random_gpt2(tmp_path: Path) -> None:
    import torch

    torch.manual_seed(0)
    model = make_gpt2(tmp_path / "gpt2")
    command = [sys.executable, "-m", "tuningfork.cli", "run", "snazzy", "--out", str(tmp_path / "run")]
    done = subprocess.run(
        [*command, f"model={model}", *SMALL],
        capture_output=True,
        text=True,
        timeout=600,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["verdict"] and summary["kl_per_sequence"] is not None
    adapter = json.loads((tmp_path / "run" / "6-rl" / "model" / "adapter" / "adapter_config.json").read_text())
    assert adapter["fan_in_fan_out"] is True and any("c_attn" in name for name in adapter["target_modules"])
