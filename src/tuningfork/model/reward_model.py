"""The reward model: trunk, pooling, scalar head and normalisation, saved and loaded as one artifact.

The folder is a `...ForSequenceClassification` with one label, as transformers knows it; with last-token pooling
transformers computes the same raw score. What transformers does not know stands in config.json under `tuningfork`.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from tuningfork.errors import ModelError
from tuningfork.model.adapters import OWN, merged_state
from tuningfork.model.backbone import Backbone
from tuningfork.model.heads import reward_head
from tuningfork.model.hub import check_folder, load_config, load_tokenizer, load_weights, local_folder
from tuningfork.model.saving import ADAPTER_FOLDER, save_adapter
from tuningfork.runtime import Runtime

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Pooling = Literal["last", "mean_response", "mean_all"]
"""Where the head reads: the last real token, the mean over response tokens, or the mean over all real tokens."""

_FORMAT_VERSION = 1


class RewardModel:
    """Scores of token sequences. `gain` and `bias` put scores on a common scale: score = gain * raw + bias.

    `template` records how prompt and response were put together for training; the artifact carries it along.
    """

    def __init__(
        self,
        backbone: Backbone,
        head: nn.Linear,
        pooling: Pooling = "last",
        *,
        gain: float = 1.0,
        bias: float = 0.0,
        template: Mapping[str, Any] | None = None,
        role: str = "policy",
    ) -> None:
        self.backbone, self.head, self.role = backbone, head, role
        self.pooling: Pooling = pooling
        self.gain, self.bias, self.template = gain, bias, dict(template or {})

    @classmethod
    def create(
        cls,
        backbone: Backbone,
        pooling: Pooling = "last",
        *,
        seed: int,
        template: Mapping[str, Any] | None = None,
        init: Literal["normal", "zero"] = "normal",
    ) -> RewardModel:
        """A new head on `backbone`; which of the backbone's parameters train is not changed."""
        head = reward_head(backbone.hidden_size, seed, init).to(backbone.device)
        return cls(backbone, head, pooling, template=template)

    def modules(self) -> dict[str, nn.Module]:
        """What the training loop trains: the trunk and the head."""
        return {"policy": self.backbone.model, "head": self.head}

    def score(self, ids: Tensor, mask: Tensor, response_mask: Tensor | None = None) -> Tensor:
        """Scores (B,) in fp32 of prompt and response together.

        ids (B, T); mask (B, T) bool; response_mask (B, T) bool is needed by the pooling `mean_response` only.
        """
        hidden = self.backbone.hidden(ids, mask, role=self.role)
        return self.score_hidden(hidden, mask, response_mask)

    def score_hidden(self, hidden: Tensor, mask: Tensor, response_mask: Tensor | None = None) -> Tensor:
        """Scores (B,) of the trunk's hidden states (B, T, D)."""
        with torch.autocast(hidden.device.type, enabled=False):
            pooled = pool(hidden.float(), mask, self.pooling, response_mask)
            return self.gain * self.head(pooled).squeeze(-1) + self.bias

    def prefix_scores(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Scores (B, T) in fp32 of each text up to and including every column; padding on the right.

        One forward gives them all, because a causal trunk's state does not know what follows. Not for the pooling
        `mean_response`, which has no score before the first response token.
        """
        assert self.pooling != "mean_response", "a prompt without a response has no score under mean_response"
        hidden = self.backbone.hidden(ids, mask, role=self.role)
        with torch.autocast(hidden.device.type, enabled=False):
            states = hidden.float() * mask[..., None]
            if self.pooling == "mean_all":
                states = states.cumsum(1) / mask.cumsum(1).clamp(min=1)[..., None]
            return self.gain * self.head(states).squeeze(-1) + self.bias

    def normalise(self, scores: Tensor, mean: float = 0.0, std: float = 1.0) -> None:
        """Choose gain and bias so that these scores (N,), made with the present ones, get this mean and deviation."""
        spread, centre = float(scores.double().std(correction=0)), float(scores.double().mean())
        if not spread > 0:
            raise ModelError("the reward model gives every reference sample the same score; it has learnt nothing")
        self.gain *= std / spread
        self.bias = (self.bias - centre) * std / spread + mean

    def save(self, folder: Path, *, verify: bool = True) -> None:
        """Write trunk (merged), head, constants, template and tokenizer; with LoRA also `adapter/`.

        With `verify` the folder is loaded again and must give the same scores.
        """
        has_adapter = self.backbone.peft is not None and OWN in self.backbone.peft.peft_config
        facts = {
            "version": _FORMAT_VERSION,
            "kind": "reward_model",
            "pooling": self.pooling,
            "gain": self.gain,
            "bias": self.bias,
            "template": self.template,
            "base": base_fingerprint(self.backbone) if has_adapter else None,
        }
        folder.mkdir(parents=True, exist_ok=True)
        shell = _classifier_shell(self.backbone.model, facts)
        prefix = f"{self.backbone.model.base_model_prefix}."
        state = {k: v for k, v in merged_state(self.backbone.model).items() if k.startswith(prefix)}
        state["score.weight"] = self.head.weight.detach()
        shell.save_pretrained(folder, state_dict=state)
        self.backbone.tokenizer.save_pretrained(folder)
        if has_adapter:
            save_adapter(self.backbone, folder / ADAPTER_FOLDER)
        if verify:
            self._verify(folder)

    @torch.no_grad()
    def _verify(self, folder: Path) -> None:
        saved = RewardModel.load(folder, Runtime(self.backbone.device.type, "fp32", threads=1))
        ids = torch.arange(16, device=self.backbone.device).remainder(len(self.backbone.tokenizer))[None]
        mask = torch.ones_like(ids, dtype=torch.bool)
        live, loaded = (float(model.score(ids, mask, mask)) for model in (self, saved))
        if abs(live - loaded) > 1e-4 * max(1.0, abs(live), self.gain):
            raise ModelError(f"{folder}: the saved reward model differs from the trained one ({loaded} is not {live})")

    @classmethod
    def load(cls, source: str | Path, runtime: Runtime, backbone: Backbone | None = None) -> RewardModel:
        """Read a reward model, frozen; ModelError when the head is missing.

        With `backbone`, a reward model that is an adapter over the same base weights is attached to it as the role
        `reward`, which saves a second trunk; if the base differs, the merged trunk is loaded by itself.
        """
        folder = local_folder(source)
        if folder is not None:
            check_folder(folder)
        config = load_config(source)
        if config.num_labels != 1:
            raise ModelError(f"{source} has {config.num_labels} labels; a reward model has one score (num_labels 1)")
        facts = getattr(config, "tuningfork", None) or {}
        if facts.get("version", _FORMAT_VERSION) > _FORMAT_VERSION:
            raise ModelError(f"{source} was saved by a newer Tuningfork; update to read it")
        model = load_weights(source, "AutoModelForSequenceClassification", torch.float32)
        head: nn.Linear | None = getattr(model, "score", None)
        if head is None or head.bias is not None:
            raise ModelError(f"{source} ({type(model).__name__}) has no plain scalar head called `score`")
        role = "policy"
        if backbone is not None and folder is not None and facts.get("base") == base_fingerprint(backbone):
            backbone.attach_adapter(folder / ADAPTER_FOLDER, "reward")
            role = "reward"
        else:
            backbone = Backbone(model, load_tokenizer(source), str(source))
            model.requires_grad_(False).to(runtime.device)  # type: ignore[arg-type]
        return cls(
            backbone,
            head.requires_grad_(False).to(runtime.device),
            facts.get("pooling", "last"),
            gain=facts.get("gain", 1.0),
            bias=facts.get("bias", 0.0),
            template=facts.get("template"),
            role=role,
        )


def pool(hidden: Tensor, mask: Tensor, pooling: Pooling, response_mask: Tensor | None = None) -> Tensor:
    """Pooled states (B, D) of hidden states (B, T, D).

    The last token is the last column whose mask is set: never a search for pad ids, never the last column as such.
    """
    if pooling == "last":
        columns = torch.arange(mask.shape[1], device=mask.device)
        last = torch.where(mask, columns, -1).amax(1)  # (B,)
        assert bool((last >= 0).all()), "a row without a real token has no score"
        return hidden[torch.arange(len(hidden), device=hidden.device), last]
    if pooling == "mean_response":
        assert response_mask is not None, "mean_response pooling needs the response mask"
        mask = response_mask & mask
    weights = mask.to(hidden.dtype).unsqueeze(-1)  # (B, T, 1)
    total = weights.sum(1)
    assert bool((total > 0).all()), "a row without a pooled token has no score"
    return (hidden * weights).sum(1) / total


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


def _classifier_shell(model: PreTrainedModel, facts: dict[str, Any]) -> PreTrainedModel:
    """The one-label classifier of the same architecture, without storage: it only knows how to write itself."""
    from transformers import AutoModelForSequenceClassification

    config = copy.deepcopy(model.config)
    config.num_labels = 1
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
