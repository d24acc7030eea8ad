"""Small tokenizers with the control tokens and templates of well-known model families."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuningfork.model.hub import transformers_library

TEMPLATES = Path(__file__).parent / "templates"
TEXTS = ["what colour is the cat? it is red.", "you are helpful. the cat sat on the mat\n\nand slept."] * 8


@dataclass(frozen=True)
class Family:
    """What is known of a family's format: its control tokens, whether its tokenizer writes BOS, what an answer is."""

    name: str
    controls: tuple[str, ...]
    end: str
    """text that ends an answer and belongs to it"""
    eos: str
    bos: str | None = None
    gap: str = ""
    """blank between the generation prompt and an answer, which belongs to the answer"""
    strips: bool = False
    takes_system: bool = True
    num_bos: int = 1
    """BOS in a conversation of two turns"""


FAMILIES = (
    Family("chatml", ("<|im_start|>", "<|im_end|>"), "<|im_end|>", "<|endoftext|>", num_bos=0),
    Family("llama2", (), " </s>", "</s>", "<s>", gap=" ", strips=True, num_bos=2),
    Family("llama3", ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"), "<|eot_id|>",
           "<|end_of_text|>", "<|begin_of_text|>", strips=True),
    Family("mistral", (), "</s>", "</s>", "<s>", gap="", takes_system=False),
    Family("gemma", ("<start_of_turn>", "<end_of_turn>"), "<end_of_turn>", "<eos>", "<bos>",
           strips=True, takes_system=False),
    Family("phi3", ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>"), "<|end|>", "<|endoftext|>", "<s>"),
    Family("zephyr", (), "</s>", "</s>", "<s>"),
    Family("vicuna", (), "</s>", "</s>", "<s>", gap=" "),
    Family("deepseek", ("<｜User｜>", "<｜Assistant｜>"), "<｜end▁of▁sentence｜>", "<｜end▁of▁sentence｜>",
           "<｜begin▁of▁sentence｜>"),
    Family("command_r", ("<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>", "<|SYSTEM_TOKEN|>", "<|USER_TOKEN|>",
           "<|CHATBOT_TOKEN|>"), "<|END_OF_TURN_TOKEN|>", "<EOS_TOKEN>", "<BOS_TOKEN>", strips=True),
)  # fmt: skip
BY_NAME = {family.name: family for family in FAMILIES}


def family_tokenizer(family: Family, template: str = "") -> Any:
    """A byte-level BPE with the family's control tokens; `template` takes another family member's template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    controls = ["<pad>", *([family.bos] if family.bos else []), family.eos, *family.controls]
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=list(dict.fromkeys(controls)), initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator(TEXTS, trainer)
    if family.bos:
        bos_id = backend.token_to_id(family.bos)
        backend.post_processor = processors.TemplateProcessing(
            single=f"{family.bos} $A", special_tokens=[(family.bos, bos_id)]
        )
    return transformers_library().PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="<pad>",
        bos_token=family.bos,
        eos_token=family.eos,
        additional_special_tokens=list(family.controls),
        chat_template=(TEMPLATES / f"{template or family.name}.jinja").read_text(encoding="utf-8"),
        clean_up_tokenization_spaces=False,
    )
