"""Loading a backbone: any causal decoder that transformers loads, from a folder or the hub, or a new one."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from tuningfork.errors import ModelError
from tuningfork.model.backbone import Backbone
from tuningfork.model.hub import check_folder, check_weights, load_config, load_tokenizer, load_weights, local_folder
from tuningfork.model.layers import grow_embeddings
from tuningfork.model.scratch import new_model
from tuningfork.model.settings import ChatSettings, Full, Lora, ScratchSettings, Unfreeze
from tuningfork.runtime import Runtime

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase


def load_backbone(
    source: str | Path,
    runtime: Runtime,
    *,
    adapter: Lora | Unfreeze | Full | None = None,
    chat: ChatSettings | None = None,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> Backbone:
    """The model and tokenizer of `source` (folder, artifact's model folder, or hub id), every parameter frozen.

    A folder that holds only a peft adapter is loaded with its base and merged. With `adapter` the chosen parameters
    train; `chat` settles the chat template first. `dtype` is that of the stored weights: keep fp32 for whatever trains.
    ModelError for anything unusable.
    """
    folder = local_folder(source)
    if folder is not None and (folder / "adapter_config.json").is_file() and not (folder / "config.json").is_file():
        model, tokenizer = _load_adapter_folder(folder, dtype)
    else:
        model, tokenizer = _load_decoder(source, dtype)
    backbone = Backbone(model, tokenizer, str(source))
    backbone.model.requires_grad_(False)
    if chat is not None:
        backbone.set_chat(chat)
    if adapter is not None:
        backbone.add_adapter(adapter, seed)
    backbone.model.to(runtime.device)  # type: ignore[arg-type]
    _check_logits(backbone)
    return backbone


def new_backbone(
    settings: ScratchSettings, tokenizer: PreTrainedTokenizerBase, seed: int, runtime: Runtime
) -> Backbone:
    """A new model over `tokenizer`; every parameter trains."""
    tokenizer.model_max_length = settings.context
    backbone = Backbone(new_model(settings, tokenizer, seed), tokenizer)
    backbone.model.to(runtime.device)  # type: ignore[arg-type]
    return backbone


def _load_decoder(source: str | Path, dtype: torch.dtype) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    folder = local_folder(source)
    if folder is not None:
        check_folder(folder)
    config = load_config(source)
    check_is_decoder(config, str(source))
    tokenizer = load_tokenizer(source)
    return load_weights(source, "AutoModelForCausalLM", dtype), tokenizer


def _load_adapter_folder(folder: Path, dtype: torch.dtype) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    from peft import PeftModel

    check_weights(folder, "adapter_model")
    base = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8")).get("base_model_name_or_path")
    if not base:
        raise ModelError(f"{folder} is an adapter without base_model_name_or_path; set it in adapter_config.json")
    model, tokenizer = _load_decoder(base, dtype)
    if (folder / "tokenizer_config.json").is_file():
        tokenizer = load_tokenizer(folder)
    if len(tokenizer) > model.get_input_embeddings().num_embeddings:  # type: ignore[union-attr]
        grow_embeddings(model, len(tokenizer))  # the adapter brings rows of its own
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # peft asks transformers for a name that it is about to rename
        merged = PeftModel.from_pretrained(model, folder).merge_and_unload()  # type: ignore[operator]
    return merged, tokenizer


def check_is_decoder(config: PretrainedConfig, source: str) -> None:
    """Raise ModelError, naming the architecture, for anything that is not a causal decoder with its output matrix."""
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    )

    name = (config.architectures or [config.model_type])[0]
    if config.is_encoder_decoder:
        raise ModelError(f"{source} is an encoder-decoder ({name}); use a causal decoder such as GPT-2, OPT or Llama")
    if name.endswith("ForSequenceClassification"):
        raise ModelError(f"{source} is a classifier or reward model ({name}): it cannot write text; use it as a reward")
    is_encoder = config.model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES and not getattr(config, "is_decoder", False)
    if is_encoder or config.model_type not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        raise ModelError(
            f"{source} is not a causal decoder ({name}): it cannot write text; use GPT-2, OPT, Llama or the like"
        )


@torch.no_grad()
def _check_logits(backbone: Backbone) -> None:
    """The trunk and the head apart must give what the whole model gives; some architectures do more in between."""
    ids = torch.tensor([[backbone.eos_id, 0, 1]], device=backbone.device)
    apart = backbone.lm_head(backbone.hidden(ids, torch.ones_like(ids, dtype=torch.bool)))
    whole = backbone.model(input_ids=ids, use_cache=False).logits
    if not torch.allclose(apart.float(), whole.float(), rtol=1e-3, atol=1e-3):
        name = type(backbone.model).__name__
        raise ModelError(
            f"{backbone.source} ({name}) changes its logits in a way that is not known here; it cannot be used"
        )
