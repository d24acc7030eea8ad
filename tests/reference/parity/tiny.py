"""A decoder so small that its numbers can be checked in, with weights by formula: the same ones in every environment.

Nothing is downloaded and nothing is drawn at random; trl's environment and this project's build the same model.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

WORDS = ["<pad>", "<eos>", "<bos>", "<unk>", *(f"w{number}" for number in range(12))]
PAD, EOS = 0, 1
MODEL = {
    "vocab_size": len(WORDS),
    "hidden_size": 8,
    "intermediate_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "tie_word_embeddings": False,
    "pad_token_id": PAD,
    "eos_token_id": EOS,
    "bos_token_id": 2,
}
POLICY, REFERENCE, OLD = (1.0, 0.0), (1.0, 0.04), (1.0, 0.02)
"""Weights of three models: the first number scales what they share, the second how far each stands from the policy."""


def fill(model: nn.Module, weights: tuple[float, float]) -> None:
    """Set every weight by formula: shared * sin(...) + apart * cos(...), in the order of the parameters' names."""
    shared, apart = weights
    with torch.no_grad():
        for number, (_, parameter) in enumerate(sorted(model.named_parameters()), start=1):
            base, other = waves(parameter, number)
            parameter.copy_(shared * base + apart * other)


def waves(parameter: Tensor, number: int) -> tuple[Tensor, Tensor]:
    """Two fixed tensors of the parameter's shape with entries of order 1; norms' scales (vectors) stand near 1."""
    count = torch.arange(parameter.numel(), dtype=torch.float64)
    base = torch.sin(count * (0.37 + 0.61 * number) + number).reshape(parameter.shape)
    other = torch.cos(count * (1.13 + 0.29 * number) - number).reshape(parameter.shape)
    return (1.0 + 0.2 * base if parameter.dim() == 1 else 0.7 * base), other


def digest(model: nn.Module) -> dict[str, list[float]]:
    """Of each parameter's gradient: its norm, and its product with a fixed tensor of its shape."""
    found = {}
    for number, (name, parameter) in enumerate(sorted(model.named_parameters()), start=1):
        slopes = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        found[name] = [float(slopes.double().norm()), float((slopes.double() * waves(parameter, number)[1]).sum())]
    return found


def tokenizer() -> Any:
    """One token a word, as a transformers tokenizer."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", eos_token="<eos>", bos_token="<bos>", unk_token="<unk>"
    )


def decoder() -> Any:
    """The decoder, in fp32."""
    from transformers import LlamaConfig, LlamaForCausalLM

    model = LlamaForCausalLM(LlamaConfig(**MODEL))
    fill(model, POLICY)
    return model.eval()


def text(*numbers: int) -> str:
    """Words by number."""
    return " ".join(f"w{number}" for number in numbers)


def answer(*numbers: int) -> str:
    """Words that follow others."""
    return " " + text(*numbers)
