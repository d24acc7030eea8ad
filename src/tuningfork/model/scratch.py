"""A new small Llama-style model, initialised by name: equal seeds give equal weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from tuningfork.model.hub import transformers_library
from tuningfork.model.settings import ScratchSettings
from tuningfork.randomness import generator

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def new_model(settings: ScratchSettings, tokenizer: PreTrainedTokenizerBase, seed: int) -> PreTrainedModel:
    """A `LlamaForCausalLM` with random weights.

    Matrices and embeddings are normal, norms are 1. Each matrix draws from its own stream, keyed by (seed, name), so that
    nothing depends on the order of creation.
    """
    library = transformers_library()
    config = library.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=settings.width,
        intermediate_size=settings.feed_forward,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        num_key_value_heads=settings.kv_heads or settings.heads,
        max_position_embeddings=settings.context,
        rope_parameters={"rope_type": "default", "rope_theta": settings.rope_theta},
        tie_word_embeddings=settings.tied,
        initializer_range=settings.initializer_range,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        model = library.LlamaForCausalLM(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 2:
                parameter.normal_(0.0, settings.initializer_range, generator=generator(seed, "init", name))
    model.generation_config = library.GenerationConfig(
        do_sample=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return model.eval()
