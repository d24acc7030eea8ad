"""Tokenizers: a byte-level BPE trained on the data, and the one contract every tokenizer must keep.

The contract: EOS exists, PAD exists and is not EOS, a document begins with exactly one BOS (or with none, if that is
how the model was trained), and text from a user never turns into a control token.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from tuningfork.errors import DataError, ModelError
from tuningfork.model.templates import control_tokens, turn_end_id

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PAD, BOS, EOS = "<|pad|>", "<|bos|>", "<|eos|>"
TURN_START, TURN_END = "<|im_start|>", "<|im_end|>"
NUM_SPARE = 16
RESERVED = (PAD, BOS, EOS, TURN_START, TURN_END, *(f"<|spare_{index}|>" for index in range(NUM_SPARE)))
"""Ids 0 to 20 of every tokenizer made here; spare ids take tags and roles later, so that nothing is ever resized."""

CHATML_TEMPLATE = """\
{{- bos_token }}
{%- for message in messages %}
    {{- '<|im_start|>' + message['role'] + '\n' }}
    {%- if message['role'] == 'assistant' %}
        {%- generation %}{{- message['content'] + '<|im_end|>' }}{%- endgeneration %}
    {%- else %}
        {{- message['content'] + '<|im_end|>' }}
    {%- endif %}
    {{- '\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
{%- endif %}
"""
"""ChatML with one BOS in front; the end-of-turn marker is one of the assistant's own tokens, which teaches stopping."""


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> PreTrainedTokenizerBase:
    """Byte-level BPE with GPT-2's pre-tokenisation; at most `vocabulary` tokens, the reserved ones first.

    Equal texts give an equal tokenizer. A small corpus may run out of pairs to merge before `vocabulary` is reached.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    from tuningfork.model.hub import transformers_library

    if vocabulary < len(RESERVED) + 256:
        raise ModelError(
            f"vocabulary {vocabulary} is too small: 256 bytes and {len(RESERVED)} reserved tokens come first"
        )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        min_frequency=2,
        special_tokens=list(RESERVED),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    seen = _NonEmpty(texts)
    tokenizer.train_from_iterator(seen, trainer)
    if not seen.found:
        raise DataError("there is no text to train a tokenizer on")
    bos_id = tokenizer.token_to_id(BOS)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A $B", special_tokens=[(BOS, bos_id)]
    )
    return transformers_library().PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        additional_special_tokens=[token for token in RESERVED if token not in (PAD, BOS, EOS)],
        chat_template=CHATML_TEMPLATE,
        clean_up_tokenization_spaces=False,
        padding_side="left",
    )


class _NonEmpty:
    """Passes texts on and remembers whether there was any."""

    def __init__(self, texts: Iterable[str]) -> None:
        self.texts, self.found = texts, False

    def __iter__(self):
        for text in self.texts:
            self.found = self.found or bool(text)
            yield text


def encode_content(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Ids of text that somebody wrote: no BOS, no EOS, and `<|im_end|>` in it is ten characters, no control token."""
    return encode_contents(tokenizer, [text])[0]


def encode_contents(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
    """`encode_content` of many texts at once, which is several times faster."""
    if not texts:
        return []
    encoded = tokenizer(list(texts), add_special_tokens=False, split_special_tokens=True, verbose=False)
    ids: list[list[int]] = encoded["input_ids"]
    return ids


def start_ids(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """What a document begins with: `[bos]` where this tokenizer adds one by itself, else nothing."""
    bos = cast("int | None", tokenizer.bos_token_id)
    ids: list[int] = tokenizer("a", verbose=False)["input_ids"]
    return [bos] if bos is not None and ids[:1] == [bos] else []


@dataclass(frozen=True)
class TokenizerCheck:
    """Outcome of `check_tokenizer`: `pad_added` says that the embedding table may need one more row."""

    notes: tuple[str, ...]
    pad_added: bool


def check_tokenizer(tokenizer: PreTrainedTokenizerBase) -> TokenizerCheck:
    """Make `tokenizer` keep the contract, in place, and say what was changed.

    A missing PAD, or a PAD that is EOS, becomes the unknown token, which never occurs, or else a new token. ModelError
    when there is no EOS or when a document would begin with two BOS.
    """
    eos = tokenizer.eos_token_id
    if eos is None:
        raise ModelError(
            f"the tokenizer of {tokenizer.name_or_path} has no EOS token: a model could never stop; set eos_token"
        )
    ids: list[int] = tokenizer("a", verbose=False)["input_ids"]
    if tokenizer.bos_token_id is not None and ids[:2] == [tokenizer.bos_token_id] * 2:
        raise ModelError(f"the tokenizer of {tokenizer.name_or_path} puts two BOS in front of a text; one is allowed")
    if tokenizer.pad_token_id is not None and tokenizer.pad_token_id != eos:
        return TokenizerCheck((), False)
    reason = "the tokenizer has no pad token" if tokenizer.pad_token_id is None else "the tokenizer pads with EOS"
    unknown = tokenizer.unk_token_id
    if unknown is not None and unknown not in (eos, tokenizer.bos_token_id):
        tokenizer.pad_token = tokenizer.unk_token
        return TokenizerCheck((f"{reason}; its unknown token {tokenizer.unk_token} is used for padding",), False)
    tokenizer.add_special_tokens({"pad_token": PAD})
    return TokenizerCheck((f"{reason}; {PAD} was added with id {tokenizer.pad_token_id}",), True)


def stop_ids(tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """Ids that end an answer: EOS, and the token that the chat template writes behind an answer."""
    turn_end = turn_end_id(tokenizer) if tokenizer.chat_template else None
    ids = [cast(int, tokenizer.eos_token_id), *([] if turn_end is None else [turn_end])]
    return tuple(dict.fromkeys(ids))


def set_chatml(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Give `tokenizer` the ChatML template, in place; returns the ids of markers it did not have.

    A document begins with BOS only where it does so without a template.
    """
    missing = [token for token in (TURN_START, TURN_END) if token not in control_tokens(tokenizer)]
    tokenizer.add_tokens(missing, special_tokens=True)
    begins = bool(start_ids(tokenizer))
    tokenizer.chat_template = CHATML_TEMPLATE if begins else CHATML_TEMPLATE.removeprefix("{{- bos_token }}\n")
    return cast("list[int]", tokenizer.convert_tokens_to_ids(missing))
