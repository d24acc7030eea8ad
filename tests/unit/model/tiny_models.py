"""Tiny models of four architectures, and what the tests here do to them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from tuningfork.model.hub import transformers_library

TEXTS = ["the blue vase is blue", "what colour is the red kettle ?", "it is red, i think", "a green hat"] * 4
ARCHITECTURES = ("llama", "opt", "gpt2", "gpt_neox")


def tiny_config(architecture: str, vocabulary: int) -> Any:
    """Three layers of width 32, dropout on where the architecture has it (it must be switched off by the loader)."""
    library = transformers_library()
    ids = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    if architecture == "llama":
        return library.LlamaConfig(
            vocab_size=vocabulary, hidden_size=32, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
            intermediate_size=48, max_position_embeddings=64, attention_dropout=0.1, **ids,
        )  # fmt: skip
    if architecture == "opt":  # a projection behind the last layer, as OPT-350m has
        return library.OPTConfig(
            vocab_size=vocabulary, hidden_size=32, num_hidden_layers=3, num_attention_heads=4, ffn_dim=48,
            max_position_embeddings=64, word_embed_proj_dim=16, layerdrop=0.1, **ids,
        )  # fmt: skip
    if architecture == "gpt2":
        return library.GPT2Config(vocab_size=vocabulary, n_embd=32, n_layer=3, n_head=4, n_positions=64, **ids)
    return library.GPTNeoXConfig(
        vocab_size=vocabulary, hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=48,
        max_position_embeddings=64, hidden_dropout=0.1, **ids,
    )  # fmt: skip


def gpt2_like_tokenizer() -> Any:
    """Byte-level BPE with `<|endoftext|>` as its only special token, as GPT-2 has it."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    backend.train_from_iterator(
        TEXTS,
        trainers.BpeTrainer(
            vocab_size=280, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet, show_progress=False
        ),
    )
    end = "<|endoftext|>"
    return transformers_library().PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token=end, eos_token=end, unk_token=end
    )


def shifted_left(ids: torch.Tensor, mask: torch.Tensor, extra: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    """The same rows padded on the left, with `extra` more columns and other ids in the padding."""
    width = ids.shape[1] + extra
    new_ids, new_mask = torch.full((len(ids), width), 5), torch.zeros(len(ids), width, dtype=torch.bool)
    for row, length in enumerate(mask.sum(1).tolist()):
        new_ids[row, width - length :] = ids[row, :length]
        new_mask[row, width - length :] = True
    return new_ids, new_mask


def perturb(parameters: Iterable[torch.Tensor], seed: int = 11) -> None:
    """Change every parameter, as training would."""
    source = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in parameters:
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=source))
