"""Propositions as reward: how probable a model finds each of some statements about the answer, summed by weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import tuningfork.settings
from tuningfork.asking.settings import AskedIn
from tuningfork.reward.base import Item, RewardSources, Score
from tuningfork.settings import Input

if TYPE_CHECKING:
    from tuningfork.judges.propositions import Propositions
    from tuningfork.model.backbone import Backbone
    from tuningfork.runtime import Runtime

_AT_ONCE = 64


class Settings(tuningfork.settings.Settings):
    """Settings of propositions as reward."""

    propositions: Input
    """YAML file with the statements, see docs/judges.md"""
    model: Input
    """model that says whether they hold"""
    asked_in: AskedIn = "chat"
    """`chat` asks in its chat template where it has one; `text` in plain text, as a model without conversations has to be"""
    weights: Input | None = None
    """weights that the stage `propositions` fitted, its file weights.json; empty takes those of the YAML file"""


def load(settings: Settings, sources: RewardSources) -> PropositionReward:
    """The propositions, their weights and their model; DataError for files that do not fit together."""
    from tuningfork.judges.propositions import load_propositions, load_weights
    from tuningfork.model.loading import load_backbone

    found = load_propositions(Path(sources.inputs["propositions"].reference))
    weights = found.given_weights
    if settings.weights is not None:
        weights = load_weights(Path(sources.inputs["weights"].reference), list(found.propositions))
    backbone = load_backbone(sources.inputs["model"].reference, sources.runtime)
    return PropositionReward(found, weights, backbone, sources.runtime, settings)


class PropositionReward:
    """The sum of weight x probability. Its parts: the probability of each statement, by name."""

    def __init__(
        self,
        propositions: Propositions,
        weights: dict[str, float],
        backbone: Backbone,
        runtime: Runtime,
        settings: Settings,
    ) -> None:
        self.propositions, self.weights, self.backbone, self.runtime = propositions, weights, backbone, runtime
        self.is_chat = settings.asked_in == "chat" and bool(getattr(backbone.tokenizer, "chat_template", None))

    def score(self, items: Sequence[Item]) -> list[Score]:
        """One score an item."""
        columns = {name: self.probabilities(name, items) for name in self.weights}
        rows = [{name: column[index] for name, column in columns.items()} for index in range(len(items))]
        return [Score(sum(self.weights[name] * value for name, value in row.items()), row) for row in rows]

    def probabilities(self, name: str, items: Sequence[Item]) -> list[float]:
        """How probable the model finds a statement of each answer, by the labels' probabilities among themselves; one half
        where it gives none of them any."""
        from tuningfork.asking.labels import label_logprobs, label_shares
        from tuningfork.evals.answers import make_prompts

        labels, found = self.propositions.labels, list[float]()
        for start in range(0, len(items), _AT_ONCE):
            texts = [
                self.propositions.ask(name, item.prompt.strip(), item.response.strip())
                for item in items[start : start + _AT_ONCE]
            ]
            rows = [
                {"id": n, "messages": [{"role": "user", "content": text}]}
                if self.is_chat
                else {"id": n, "prompt": text}
                for n, text in enumerate(texts)
            ]
            prompts = [prompt.ids for prompt in make_prompts(self.backbone, rows)]
            for told in label_logprobs(self.backbone, prompts, [labels] * len(texts), self.runtime):
                shares = label_shares(told, labels)
                found.append(0.5 if shares is None else shares[0])
        return found
