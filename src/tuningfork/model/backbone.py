"""One set of base weights, seen in several roles.

    policy      the weights as they train (adapter on)
    reference   the artifact the stage started from: own adapter off, or a copy of just the weights that train
    <name>      an attached, frozen adapter on the same base, e.g. a reward model's

Hidden states and logits are apart: `hidden` never computes logits, `lm_head` computes them where they are needed.
Shapes: B sequences, T tokens, D width, V vocabulary. `ids` (B, T) int64, `mask` (B, T) bool, True for a real token.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from tuningfork.errors import ModelError
from tuningfork.model.adapters import OWN, add_lora, attach_lora, lora_layers, token_layers, unfreeze
from tuningfork.model.hub import transformers_library
from tuningfork.model.layers import disable_dropout, grow_embeddings
from tuningfork.model.packing import document_mask, document_positions
from tuningfork.model.settings import ChatSettings, Full, Lora, Unfreeze
from tuningfork.model.templates import control_tokens, template_text, with_date, writes_the_date
from tuningfork.model.tokenizer import (
    TURN_END,
    TURN_START,
    check_tokenizer,
    encode_contents,
    set_chatml,
    start_ids,
    stop_ids,
)

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import Cache, PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

UNLIMITED = 1 << 30


def position_ids(mask: Tensor) -> Tensor:
    """Positions (B, T) that count real tokens only, so that padding on either side does not matter."""
    return (mask.long().cumsum(1) - 1).clamp(min=0)


class Backbone:
    """A causal decoder with its tokenizer and roles. Dropout is off, the tokenizer keeps the contract.

    `model` is the transformers model (adapters sit inside it); `notes` tells what was changed or should be known.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, source: str = "") -> None:
        self.model, self.tokenizer, self.source = model, tokenizer, source
        check = check_tokenizer(tokenizer)
        self.notes = list(check.notes)
        if len(tokenizer) > model.get_input_embeddings().num_embeddings:  # type: ignore[union-attr]
            self._add_embedding_rows(len(tokenizer))
        disable_dropout(model)
        self.peft: PeftModel | None = None
        self._lora: list[Any] = []  # modules that carry adapters
        self._token_layers: list[Any] = []  # modules of which single rows train
        self._new_tokens: list[int] = []
        self._reference: dict[str, Tensor] | None = None
        self._reference_has_head = False
        self._role = "policy"
        self.start_ids = start_ids(tokenizer)
        self.stop_ids = self._settle_special_ids()
        self.takes_positions = "position_ids" in inspect.signature(self.trunk.forward).parameters
        model.eval()

    # What it is

    @property
    def trunk(self) -> nn.Module:
        """The decoder without its output matrix."""
        return self.model.base_model

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.model.device

    @property
    def pad_id(self) -> int:
        """Id used for padding; never EOS."""
        return self.tokenizer.pad_token_id  # type: ignore[return-value]

    @property
    def eos_id(self) -> int:
        """Id that ends a document."""
        return self.tokenizer.eos_token_id  # type: ignore[return-value]

    @property
    def hidden_size(self) -> int:
        """Width D of what `hidden` returns."""
        output = self.model.get_output_embeddings() or getattr(self.model, "score", None)
        return output.weight.shape[1] if output is not None else self.config.hidden_size  # type: ignore[union-attr]

    @property
    def config(self) -> PretrainedConfig:
        """The decoder's configuration (the text part, where a model has several)."""
        return self.model.config.get_text_config(decoder=True)

    @property
    def vocabulary_size(self) -> int:
        """Number of logits V; may exceed the tokenizer's size."""
        return self.model.get_input_embeddings().weight.shape[0]  # type: ignore[union-attr]

    @property
    def max_length(self) -> int:
        """Longest sequence in tokens."""
        positions = getattr(self.config, "max_position_embeddings", None)
        return min(positions or UNLIMITED, self.tokenizer.model_max_length, UNLIMITED)

    # Text and ids

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of texts that somebody wrote: no BOS, no EOS, and a control token's name in them stays plain text."""
        return encode_contents(self.tokenizer, texts)

    def decode(self, ids: Sequence[Sequence[int]]) -> list[str]:
        """Texts of ids, without special tokens."""
        return self.tokenizer.batch_decode([list(row) for row in ids], skip_special_tokens=True)

    # Forward

    def hidden(
        self,
        ids: Tensor,
        mask: Tensor,
        positions: Tensor | None = None,
        role: str | None = None,
        documents: Tensor | None = None,
    ) -> Tensor:
        """Hidden states (B, T, D) behind the final norm, in `role`, or in the role that `with role(...)` has set.

        Roles other than `policy` carry no gradient. What stands at padded places of `ids` does not matter. Where the
        output matrix trains as well, logits of the reference need `with role(...)` around this and `lm_head`.
        `documents` (B, T) numbers the documents of packed rows: positions restart and attention ends at each
        (`model.packing`, which also checks that the architecture does so).
        """
        role = role or self._role
        is_split = role != self._role and role in ("policy", "reference") and self._reference_has_head
        assert not is_split, f"the {role} has another output matrix: put `with backbone.role(...)` around both steps"
        with self.role(role):
            if documents is None:
                return self._forward(ids, mask, positions).last_hidden_state
            attends = self._document_attention(documents)
            return self.trunk(
                input_ids=ids * mask,
                attention_mask=attends,
                position_ids=document_positions(documents),
                use_cache=False,
            ).last_hidden_state

    def _document_attention(self, documents: Tensor) -> Tensor:
        """The mask (B, 1, T, T) in the form that the attention of this model takes."""
        attends = document_mask(documents)
        implementation = self.model.config._attn_implementation
        if implementation == "sdpa":
            return attends
        if implementation != "eager":
            raise ModelError(f"packed rows need sdpa or eager attention, not {implementation}; use packing: none")
        dtype = self.model.dtype
        return torch.zeros_like(attends, dtype=dtype).masked_fill(~attends, torch.finfo(dtype).min)

    def forward_cached(
        self, ids: Tensor, mask: Tensor, positions: Tensor | None = None, cache: Cache | None = None
    ) -> tuple[Tensor, Cache]:
        """Hidden states (B, N, D) of N new tokens behind a key-value cache, and the cache with them in it.

        `mask` (B, past + N) covers the cached tokens too; `positions` (B, N). The cache is changed in place; rows are
        picked with `cache.batch_select_indices(rows)` and repeated with `cache.batch_repeat_interleave(n)`.
        """
        if cache is None:
            cache = transformers_library().DynamicCache(config=self.model.config)
        if positions is None:
            positions = position_ids(mask)[:, -ids.shape[1] :]
        output = self._forward(ids, mask, positions, past_key_values=cache, use_cache=True)
        return output.last_hidden_state, output.past_key_values

    def lm_head(self, hidden: Tensor) -> Tensor:
        """Logits (..., V) of hidden states (..., D)."""
        config = self.config
        output = self.model.get_output_embeddings()
        if output is None:
            raise ModelError(f"{self.source} has no language-model head: it cannot write text")
        logits: Tensor = output(hidden)
        logits = logits * (getattr(config, "logit_scale", None) or 1.0)  # Cohere
        logits = logits / (getattr(config, "logits_scaling", None) or 1.0)  # Granite
        cap = getattr(config, "final_logit_softcapping", None)  # Gemma 2
        return (logits / cap).tanh() * cap if cap else logits

    def _forward(self, ids: Tensor, mask: Tensor, positions: Tensor | None, **options: Any) -> Any:
        arguments: dict[str, Any] = {"use_cache": False, **options}
        if self.takes_positions:
            arguments["position_ids"] = position_ids(mask) if positions is None else positions
        new = mask[:, -ids.shape[1] :]
        return self.trunk(input_ids=ids * new, attention_mask=mask.long(), **arguments)

    # Training and roles

    def set_chat(self, settings: ChatSettings) -> None:
        """Settle the chat template; markers that it adds get rows of their own, which every adapter then trains."""
        if settings.template == "chatml":
            set_chatml(self.tokenizer)
            self._new_tokens = self.tokenizer.convert_tokens_to_ids([TURN_START, TURN_END])  # type: ignore[assignment]
            if len(self.tokenizer) > self.vocabulary_size:
                self._add_embedding_rows(len(self.tokenizer))
        if settings.date is not None:
            if not writes_the_date(self.tokenizer):
                raise ModelError("chat.date has no effect: the chat template writes no date; remove it")
            self.tokenizer.chat_template = with_date(template_text(self.tokenizer), settings.date)
        self.stop_ids = self._settle_special_ids()

    def add_adapter(self, settings: Lora | Unfreeze | Full, seed: int = 0) -> None:
        """Choose what trains. LoRA starts at zero, so the output does not change."""
        if OWN in self._adapters():
            raise ModelError("this backbone already has an adapter of its own; save it and load the merged model")
        if isinstance(settings, Lora):
            token_ids = sorted({*self._new_tokens, *self._ids_of(settings.tokens)})
            self.peft, notes = add_lora(self.model, settings, seed, token_ids)
            self.notes += notes
        elif isinstance(settings, Unfreeze):
            if self._new_tokens:
                raise ModelError("{kind: unfreeze} would leave the rows of new tokens untrained; use lora or full")
            unfreeze(self.model, settings)
        else:
            self.model.requires_grad_(True)
        self._lora = [layer for _, layer in lora_layers(self.model)] if self.peft else []
        self._token_layers = [layer for _, layer in token_layers(self.model)] if self.peft else []
        if self._lora:
            self._activate(OWN if isinstance(settings, Lora) else None)

    def attach_adapter(self, folder: Path, name: str) -> None:
        """Add a saved adapter over the same base as role `name`, frozen."""
        if name in self._adapters() or name in ("policy", "reference", OWN):
            raise ModelError(f"role {name} is taken")
        trainable = self.trainable_parameters()
        self.peft = attach_lora(self.model, self.peft, folder, name)
        self.model.requires_grad_(False)
        for parameter in trainable:
            parameter.requires_grad_(True)
        self._lora = [layer for _, layer in lora_layers(self.model)]
        self._activate(OWN if OWN in self._adapters() else None)

    def trainable_parameters(self) -> list[nn.Parameter]:
        """Parameters that training changes, tied ones once."""
        return [parameter for parameter in self.model.parameters() if parameter.requires_grad]

    def keep_reference(self) -> int:
        """Make the present policy the reference; returns the bytes it costs.

        An untrained LoRA costs nothing (its adapter is switched off). Otherwise the weights that train are copied, and
        only those. Call it before training and before a checkpoint is restored.
        """
        if OWN in self._adapters():
            return 0
        named = {name: parameter for name, parameter in self.model.named_parameters() if parameter.requires_grad}
        self._reference = {name: parameter.detach().clone() for name, parameter in named.items()}
        output = self.model.get_output_embeddings()
        self._reference_has_head = output is not None and any(p.requires_grad for p in output.parameters())
        return sum(value.numel() * value.element_size() for value in self._reference.values())

    @contextlib.contextmanager
    def role(self, name: str) -> Iterator[None]:
        """See the backbone in another role for a while, without gradients unless it is the policy."""
        before = self._role
        self._switch(name)
        try:
            with contextlib.nullcontext() if name == "policy" else torch.no_grad():
                yield
        finally:
            self._switch(before)

    def reference(self) -> contextlib.AbstractContextManager[None]:
        """See the backbone as the artifact the stage started from."""
        return self.role("reference")

    def save(self, folder: Path, *, verify: bool = True) -> None:
        """Write the model as transformers stores it, merged, and the adapter beside it as peft stores it.

        With `verify` the folder is loaded again and must give the same logits.
        """
        from tuningfork.model.saving import save_backbone, verify_saved

        save_backbone(self, folder)
        if verify:
            verify_saved(self, folder)

    def _switch(self, role: str) -> None:
        if role == self._role:
            return
        adapters = self._adapters()
        if role not in ("policy", "reference") and role not in adapters:
            raise ModelError(f"no adapter is attached for role {role}; attached are: {', '.join(sorted(adapters))}")
        is_own_off = OWN in adapters or self._reference is not None or not self.trainable_parameters()
        assert role == "policy" or is_own_off, "the reference was not kept: call keep_reference() before training"
        if (role == "policy") != (self._role == "policy"):
            self._swap_reference()
        if adapters:
            own = OWN if OWN in adapters else None
            self._activate(own if role == "policy" else None if role == "reference" else role)
        self._role = role

    def _swap_reference(self) -> None:
        """Exchange the training weights and the kept ones; the parameters stay the same objects."""
        if self._reference is None:
            return
        for name, parameter in self.model.named_parameters():
            if name in self._reference:
                parameter.data, self._reference[name] = self._reference[name], parameter.data

    def _activate(self, adapter: str | None) -> None:
        """Let one adapter act, or none. peft would also change which parameters train; that is undone."""
        trainable = {id(parameter) for parameter in self.trainable_parameters()}
        for layer in self._lora:
            if adapter is None:
                layer.enable_adapters(False)
            else:
                layer.enable_adapters(True)
                layer.set_adapter([adapter])
            for parameter in layer.parameters():
                parameter.requires_grad_(id(parameter) in trainable)
        for layer in self._token_layers:  # only the own adapter has rows
            layer.enable_adapters(adapter == OWN)
            for parameter in layer.parameters():
                parameter.requires_grad_(id(parameter) in trainable)

    def _ids_of(self, tokens: Sequence[str]) -> list[int]:
        known = control_tokens(self.tokenizer)
        for token in tokens:
            if token not in known:
                raise ModelError(f"adapter.tokens: {token} is no control token of this tokenizer")
        return [known[token] for token in tokens]

    def _adapters(self) -> set[str]:
        return {name for layer in self._lora for name in layer.lora_A}

    def _add_embedding_rows(self, size: int) -> None:
        old = self.vocabulary_size
        grow_embeddings(self.model, size)
        self.notes.append(f"the embedding table grew from {old} to {size} rows")

    def _settle_special_ids(self) -> tuple[int, ...]:
        """Write the tokenizer's ids into both configs; returns every id that ends an answer."""
        config, generation = self.model.config, getattr(self.model, "generation_config", None)
        config.pad_token_id = self.pad_id
        if generation is None:
            return stop_ids(self.tokenizer)
        known = generation.eos_token_id
        more = known if isinstance(known, list) else [] if known is None else [known]
        stops = tuple(dict.fromkeys((*stop_ids(self.tokenizer), *more)))
        generation.pad_token_id = self.pad_id
        generation.eos_token_id = stops[0] if len(stops) == 1 else list(stops)
        return stops
