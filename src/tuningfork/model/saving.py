"""Saving a backbone as transformers and peft store models, and checking that the folder gives the same model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file

from tuningfork.errors import ModelError
from tuningfork.model.adapters import OWN, merged_state
from tuningfork.model.hub import load_weights

if TYPE_CHECKING:
    from tuningfork.model.backbone import Backbone

ADAPTER_FOLDER = "adapter"


def save_backbone(backbone: Backbone, folder: Path) -> None:
    """Write the merged model, configs, tokenizer and chat template; with LoRA also `adapter/` in peft's layout."""
    folder.mkdir(parents=True, exist_ok=True)
    with backbone.role("policy"):
        backbone.model.save_pretrained(folder, state_dict=merged_state(backbone.model))
    backbone.tokenizer.save_pretrained(folder)
    if backbone.peft is not None and OWN in backbone.peft.peft_config:
        save_adapter(backbone, folder / ADAPTER_FOLDER)


def save_adapter(backbone: Backbone, folder: Path) -> None:
    """Write the own adapter so that `PeftModel.from_pretrained(base, folder)` reads it.

    peft's own `save_pretrained` lists the targets in an order that changes from process to process and may ask the hub
    for the base's config; a content hash needs neither.
    """
    from peft import get_peft_model_state_dict

    assert backbone.peft is not None
    folder.mkdir(parents=True, exist_ok=True)
    state = get_peft_model_state_dict(backbone.peft, adapter_name=OWN, save_embedding_layers=False)
    contiguous = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    save_file(contiguous, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    config: dict[str, Any] = backbone.peft.peft_config[OWN].to_dict()
    config |= {"base_model_name_or_path": backbone.source or None, "inference_mode": True}
    config["target_modules"] = sorted(config["target_modules"])
    text = json.dumps(config, indent=2, sort_keys=True)
    (folder / "adapter_config.json").write_text(text + "\n", encoding="utf-8")
    if config["trainable_token_indices"]:
        backbone.tokenizer.save_pretrained(folder)  # the adapter's rows are of tokens that the base may not have


@torch.no_grad()
def verify_saved(backbone: Backbone, folder: Path) -> None:
    """Load `folder` as anybody would and compare logits with the live policy; ModelError when they differ."""
    saved = load_weights(folder, "AutoModelForCausalLM", backbone.model.dtype).to(backbone.device)  # type: ignore[arg-type]
    ids = torch.arange(16, device=backbone.device).remainder(len(backbone.tokenizer))[None]
    mask = torch.ones_like(ids, dtype=torch.bool)
    with backbone.role("policy"):
        live = backbone.lm_head(backbone.hidden(ids, mask)).float()
    loaded = saved.eval()(input_ids=ids, use_cache=False).logits.float()
    tolerance = 1e-5 if backbone.model.dtype == torch.float32 else 2e-2
    difference = float((live - loaded).abs().max() / live.abs().max().clamp(min=1.0))
    if difference > tolerance:
        raise ModelError(
            f"{folder}: the saved model differs from the trained one (logits by {difference:.1e} of their size)"
        )
