"""Parts of a saved reward model: the fingerprint of its base, the shell that writes it, a free role beside others."""

from __future__ import annotations

import copy
import hashlib
from typing import TYPE_CHECKING, Any

import torch

from tuningfork.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from tuningfork.model.backbone import Backbone


def free_role(backbone: Backbone) -> str:
    """`reward`, or `reward-1` and so on where other reward models share the trunk already."""
    taken = set(backbone.peft.peft_config) if backbone.peft is not None else set[str]()
    names = ("reward", *(f"reward-{number}" for number in range(1, len(taken) + 2)))
    return next(name for name in names if name not in taken)


def base_fingerprint(backbone: Backbone) -> str:
    """A hash of the trunk's frozen base weights, adapters left out: up to 4,096 numbers of every matrix."""
    digest = hashlib.blake2b(digest_size=16)
    for name, parameter in sorted(backbone.trunk.named_parameters()):
        if ".lora_" in name:
            continue
        values = parameter.detach().flatten()
        sample = values[:: max(1, len(values) // 4096)].float().cpu().contiguous()
        digest.update(f"{name.replace('.base_layer.', '.')} {tuple(parameter.shape)}".encode())
        digest.update(sample.numpy().tobytes())
    return digest.hexdigest()


def classifier_shell(model: PreTrainedModel, facts: dict[str, Any], num_labels: int) -> PreTrainedModel:
    """The classifier of the same architecture, without storage: it only knows how to write itself."""
    from transformers import AutoModelForSequenceClassification

    config = copy.deepcopy(model.config)
    config.num_labels = num_labels
    if facts["criteria"]:
        config.id2label = {index: one["name"] for index, one in enumerate(facts["criteria"])}
        config.label2id = {name: index for index, name in config.id2label.items()}
    config.problem_type = "regression"
    config.tuningfork = facts
    try:
        with torch.device("meta"):
            shell = AutoModelForSequenceClassification.from_config(config, dtype=model.dtype)
    except ValueError as error:
        raise ModelError(
            f"transformers has no sequence classifier for {config.model_type}; use another base"
        ) from error
    return shell
