"""The reward model: trunk, pooling, head and normalisation, saved and loaded as one artifact.

The folder is a `...ForSequenceClassification` with one label (or one for each criterion), as transformers knows it; with
last-token pooling transformers computes the same raw scores. What transformers does not know stands in config.json under
`tuningfork`; docs/reward-models.md has the few lines that score with any pooling and no Tuningfork.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from tuningfork.errors import ModelError
from tuningfork.model.adapters import OWN, merged_state
from tuningfork.model.backbone import Backbone
from tuningfork.model.heads import reward_head
from tuningfork.model.hub import check_folder, load_config, load_tokenizer, load_weights, local_folder
from tuningfork.model.pooling import READS_RESPONSE, AttentionQuery, Pooling, pool
from tuningfork.model.reward_artifact import base_fingerprint, classifier_shell, free_role
from tuningfork.model.saving import ADAPTER_FOLDER, save_adapter
from tuningfork.runtime import Runtime

_FORMAT_VERSION = 2
"""2: criteria, the poolings max and attention, fitness."""


@dataclass(frozen=True)
class Criterion:
    """One head of several: its part of the score is weight * (raw - mean) / deviation."""

    weight: float
    mean: float = 0.0
    deviation: float = 1.0


class RewardModel:
    """Scores of token sequences. `gain` and `bias` put scores on a common scale: score = gain * raw + bias.

    With `criteria` (name -> Criterion) the head has one output for each, and raw is the sum of their parts.
    `template` records how prompt and response were put together for training (`data.reward_inputs`), `fitness` what the card
    found: {"usable": bool, "reason": str}. The artifact carries both along.
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
        criteria: Mapping[str, Criterion] | None = None,
        query: AttentionQuery | None = None,
    ) -> None:
        assert head.out_features == max(1, len(criteria or {}))
        assert (query is not None) == (pooling == "attention")
        self.backbone, self.head, self.role, self.query = backbone, head, role, query
        self.pooling: Pooling = pooling
        self.gain, self.bias, self.template = gain, bias, dict(template or {})
        self.criteria = dict(criteria or {})
        self.fitness: dict[str, Any] = {}
        self._saved: tuple[str | None, Path | None] | None = None  # base and adapter of the folder it was read from

    @classmethod
    def create(
        cls,
        backbone: Backbone,
        pooling: Pooling = "last",
        *,
        seed: int,
        template: Mapping[str, Any] | None = None,
        init: Literal["normal", "zero"] = "normal",
        criteria: Mapping[str, float] | None = None,
    ) -> RewardModel:
        """A new head on `backbone`, with an output for each of `criteria` (name -> weight); which of the backbone's parameters
        train is not changed."""
        head = reward_head(backbone.hidden_size, seed, init, max(1, len(criteria or {}))).to(backbone.device)
        query = AttentionQuery(backbone.hidden_size).to(backbone.device) if pooling == "attention" else None
        weighted = {name: Criterion(weight) for name, weight in (criteria or {}).items()}
        return cls(backbone, head, pooling, template=template, criteria=weighted, query=query)

    @property
    def reads_response(self) -> bool:
        """Whether a prompt without a response has no score."""
        return self.pooling in READS_RESPONSE

    @property
    def can_share(self) -> bool:
        """Whether a policy on the same base can lend it its trunk: the base's weights did not train."""
        if self._saved is not None:
            return self._saved[0] is not None
        return self._has_adapter or not self.backbone.trainable_parameters()

    @property
    def _has_adapter(self) -> bool:
        return self.backbone.peft is not None and OWN in self.backbone.peft.peft_config

    def modules(self) -> dict[str, nn.Module]:
        """What the training loop trains: the trunk, the head, and the query of attention pooling."""
        found: dict[str, nn.Module] = {"policy": self.backbone.model, "head": self.head}
        return found | ({"query": self.query} if self.query is not None else {})

    def score(self, ids: Tensor, mask: Tensor, response_mask: Tensor | None = None) -> Tensor:
        """Scores (B,) in fp32 of prompt and response together.

        ids (B, T); mask (B, T) bool; response_mask (B, T) bool is needed by poolings over the response only.
        """
        return self.total(self.raw_scores(ids, mask, response_mask))

    def raw_scores(self, ids: Tensor, mask: Tensor, response_mask: Tensor | None = None) -> Tensor:
        """What the head gives, (B, C) in fp32: one number, or one for each criterion."""
        return self._read(self._hidden(ids, mask), mask, response_mask)

    def score_hidden(self, hidden: Tensor, mask: Tensor, response_mask: Tensor | None = None) -> Tensor:
        """Scores (B,) of the trunk's hidden states (B, T, D)."""
        return self.total(self._read(hidden, mask, response_mask))

    def parts(self, raw: Tensor) -> dict[str, Tensor]:
        """Parts (B,) of the scores by criterion, from `raw_scores` (B, C); they and the bias add up to the scores."""
        columns = zip(self.criteria.items(), raw.unbind(-1), strict=True)
        return {name: self.gain * c.weight * (column - c.mean) / c.deviation for (name, c), column in columns}

    def _hidden(self, ids: Tensor, mask: Tensor) -> Tensor:
        with self.backbone.role(self.role):
            return self.backbone.hidden(ids, mask)

    def _read(self, hidden: Tensor, mask: Tensor, response_mask: Tensor | None) -> Tensor:
        with torch.autocast(hidden.device.type, enabled=False):
            query = None if self.query is None else self.query.query
            return self.head(pool(hidden.float(), mask, self.pooling, response_mask, query))

    def total(self, raw: Tensor) -> Tensor:
        """Scores (...) of what the head gave (..., C)."""
        with torch.autocast(raw.device.type, enabled=False):
            if not self.criteria:
                return self.gain * raw.squeeze(-1) + self.bias
            return sum(self.parts(raw).values(), torch.zeros_like(raw[..., 0])) + self.bias

    def prefix_scores(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Scores (B, T) in fp32 of each text up to and including every column; padding on the right.

        One forward gives them all, because a causal trunk's state does not know what follows. Not for poolings over the
        response, which have no score before its first token.
        """
        assert not self.reads_response, f"a prompt without a response has no score under {self.pooling}"
        hidden = self._hidden(ids, mask)
        with torch.autocast(hidden.device.type, enabled=False):
            states = hidden.float() * mask[..., None]
            if self.pooling == "mean_all":
                states = states.cumsum(1) / mask.cumsum(1).clamp(min=1)[..., None]
            return self.total(self.head(states))

    def standardise(self, raw: Tensor) -> None:
        """Put the criteria on one scale: the raw scores (N, C) of each get mean 0 and deviation 1, so that weights compare."""
        means, deviations = raw.double().mean(0), raw.double().std(0, correction=0)
        for index, (name, criterion) in enumerate(self.criteria.items()):
            if not float(deviations[index]) > 0:
                raise ModelError(
                    f"the reward model gives every reference sample the same {name}; it has learnt nothing of it"
                )
            self.criteria[name] = Criterion(criterion.weight, float(means[index]), float(deviations[index]))

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
        base = base_fingerprint(self.backbone) if self.can_share else None
        base, adapter = self._saved or (base, None)
        facts = {
            "version": _FORMAT_VERSION,
            "kind": "reward_model",
            "pooling": self.pooling,
            "gain": self.gain,
            "bias": self.bias,
            "template": self.template,
            "criteria": [{"name": name, **asdict(criterion)} for name, criterion in self.criteria.items()],
            "fitness": self.fitness,
            "start_ids": list(self.backbone.start_ids),
            "base": base,
        }
        folder.mkdir(parents=True, exist_ok=True)
        shell = classifier_shell(self.backbone.model, facts, self.head.out_features)
        prefix = f"{self.backbone.model.base_model_prefix}."
        state = {k: v for k, v in merged_state(self.backbone.model).items() if k.startswith(prefix)}
        state["score.weight"] = self.head.weight.detach()
        if self.query is not None:
            self.query.save(folder)
        shell.save_pretrained(folder, state_dict=state)
        self.backbone.tokenizer.save_pretrained(folder)
        if adapter is not None:
            shutil.copytree(adapter, folder / ADAPTER_FOLDER, dirs_exist_ok=True)
        elif self._has_adapter:
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

        With `backbone`, a reward model that is an adapter, or only a head, over the same base weights reads the trunk of it (an
        adapter as the role `reward`), which saves a second trunk; if the base differs, its own trunk is loaded.
        """
        folder = local_folder(source)
        if folder is not None:
            check_folder(folder)
        config = load_config(source)
        facts = getattr(config, "tuningfork", None) or {}
        listed: list[dict[str, Any]] = [dict(one) for one in facts.get("criteria") or []]
        criteria = {str(one.pop("name")): Criterion(**one) for one in listed}
        if config.num_labels != max(1, len(criteria)):
            raise ModelError(f"{source} has {config.num_labels} labels; a reward model has one score (num_labels 1)")
        if facts.get("version", _FORMAT_VERSION) > _FORMAT_VERSION:
            raise ModelError(f"{source} was saved by a newer Tuningfork; update to read it")
        model = load_weights(source, "AutoModelForSequenceClassification", torch.float32)
        head: nn.Linear | None = getattr(model, "score", None)
        if head is None or head.bias is not None:
            raise ModelError(f"{source} ({type(model).__name__}) has no plain scalar head called `score`")
        role = "policy"
        if backbone is not None and folder is not None and facts.get("base") == base_fingerprint(backbone):
            role = "reference"  # a head on frozen weights: those that the policy has without its own adapter
            if (folder / ADAPTER_FOLDER).is_dir():
                role = free_role(backbone)
                backbone.attach_adapter(folder / ADAPTER_FOLDER, role)
        else:
            backbone = Backbone(model, load_tokenizer(source), str(source))
            model.requires_grad_(False).to(runtime.device)  # type: ignore[arg-type]
        pooling: Pooling = facts.get("pooling", "last")
        query = None
        if pooling == "attention" and folder is not None:
            query = AttentionQuery.load(folder).requires_grad_(False).to(runtime.device)
        loaded = cls(
            backbone,
            head.requires_grad_(False).to(runtime.device),
            pooling,
            gain=facts.get("gain", 1.0),
            bias=facts.get("bias", 0.0),
            template=facts.get("template"),
            role=role,
            criteria=criteria,
            query=query,
        )
        loaded.fitness = dict(facts.get("fitness") or {})
        kept = folder / ADAPTER_FOLDER if folder is not None and (folder / ADAPTER_FOLDER).is_dir() else None
        loaded._saved = (facts.get("base"), kept)
        return loaded
