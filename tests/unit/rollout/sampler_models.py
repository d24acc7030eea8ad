"""Small random transformers models that the engine can sample from, without a tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import Cache, DynamicCache, GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

VOCABULARY = 50
PAD, EOS = 0, 1


@dataclass
class Causal:
    """A transformers model as the engine sees it, with its forward passes counted."""

    model: Any
    stop_ids: Sequence[int] = (EOS,)
    max_length: int = 64
    pad_id: int = PAD
    num_tokens: int = 0
    num_forwards: int = 0

    @property
    def device(self) -> torch.device:
        return self.model.device

    def forward_cached(
        self, ids: Tensor, mask: Tensor, positions: Tensor | None = None, cache: Cache | None = None
    ) -> tuple[Tensor, Cache]:
        self.num_tokens += ids.numel()
        self.num_forwards += 1
        cache = cache or DynamicCache(config=self.model.config)
        output = self.model.base_model(
            input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True
        )
        return output.last_hidden_state, output.past_key_values

    def lm_head(self, hidden: Tensor) -> Tensor:
        return self.model.lm_head(hidden)


def llama(seed: int = 0, **options: Any) -> Causal:
    """A random Llama whose distributions are far from uniform."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        initializer_range=0.3,
    )
    return Causal(LlamaForCausalLM(config).eval(), **options)


def gpt2(seed: int = 0, **options: Any) -> Causal:
    """A random GPT-2: learned positions, fused and transposed projections."""
    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=VOCABULARY,
        n_embd=32,
        n_layer=2,
        n_head=4,
        n_positions=64,
        initializer_range=0.3,
        bos_token_id=EOS,
        eos_token_id=EOS,
    )
    return Causal(GPT2LMHeadModel(config).eval(), **options)
