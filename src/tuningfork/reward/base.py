"""What every reward takes and gives. No torch here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from tuningfork.model.backbone import Backbone
    from tuningfork.runtime import Runtime
    from tuningfork.settings import Settings
    from tuningfork.stage import ResolvedInput

TextPart = Literal["response", "prompt_and_response"]
"""What of an item a reward of texts reads."""


@dataclass(frozen=True)
class Item:
    """One response to score. The ids are those that were sampled, EOS included; None where only the text is known.

    Example: Item("what colour is the sky?", " it is azure", {"root": "sky"})
    """

    prompt: str
    response: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    prompt_ids: Sequence[int] | None = None
    response_ids: Sequence[int] | None = None

    def text(self, part: TextPart) -> str:
        """The response, or prompt and response as one text."""
        return self.response if part == "response" else self.prompt + self.response


@dataclass(frozen=True)
class Score:
    """A reward and its named parts. A total of None means unscorable: counted, and never taken for 0.

    Example: Score(1.5, {"positive": 2.0, "negative": -0.5})
    """

    total: float | None
    parts: Mapping[str, float] = field(default_factory=dict)
    prefixes: Sequence[float] | None = None
    """scores of the prompt with the first 0, 1, ... of the item's `response_ids`, where the reward was asked for them;
    the last one is the total"""


UNSCORABLE = Score(None)


class Reward(Protocol):
    """Scores responses. A score depends on its own item alone."""

    def score(self, items: Sequence[Item]) -> list[Score]:
        """One score an item, in order."""
        ...


@dataclass(frozen=True)
class RewardSources:
    """What a kind of reward may be loaded from: its own inputs by field name, and what is already in memory."""

    inputs: Mapping[str, ResolvedInput]
    runtime: Runtime
    backbone: Backbone | None = None
    tokenizer: PreTrainedTokenizerBase | None = None


class RewardKind(Protocol):
    """What a module of `reward.kinds` offers. It is imported without torch, to check recipes."""

    Settings: type[Settings]

    def load(self, settings: Any, sources: RewardSources) -> Reward:
        """The reward these settings describe."""
        ...
