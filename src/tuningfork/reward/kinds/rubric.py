"""A rubric as reward: a model on this machine classifies the answer, and the class has its worth (rule-based reward model)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

import tuningfork.settings
from tuningfork.asking.settings import AskedIn
from tuningfork.errors import DataError
from tuningfork.judges.rubric import Worth
from tuningfork.reward.base import Item, RewardSources, Score
from tuningfork.reward.fields import column
from tuningfork.settings import Input

if TYPE_CHECKING:
    from tuningfork.judges.rubric import Rubric
    from tuningfork.model.backbone import Backbone
    from tuningfork.runtime import Runtime

_AT_ONCE = 64


class Settings(tuningfork.settings.Settings):
    """Settings of a rubric as reward."""

    rubric: Input
    """YAML file with the classes and what each is worth, see docs/judges.md"""
    model: Input
    """model that classifies"""
    asked_in: AskedIn = "chat"
    """`chat` asks in its chat template where it has one; `text` in plain text, as a model without conversations has to be"""
    should_refuse: str = "should_refuse"
    """column of the prompt's row that is true where the request should be refused"""
    worths: dict[str, Worth] = Field(default_factory=dict)
    """class -> what it is worth here, instead of what the file says: `worths.blunt: {should_refuse: -1, should_answer: -1}`"""
    takes: Literal["likeliest", "expected"] = "likeliest"
    """the worth of the likeliest class, or the mean over the classes by their probabilities"""
    least_mass: float = Field(default=0.1, ge=0, lt=1)
    """probability of all labels together below which the model did not answer with a class: unreadable"""


def load(settings: Settings, sources: RewardSources) -> RubricReward:
    """The rubric and its model; DataError for a file that is no rubric."""
    from tuningfork.judges.rubric import load_rubric
    from tuningfork.model.loading import load_backbone

    path = Path(sources.inputs["rubric"].reference)
    rubric = load_rubric(path).with_worths(settings.worths, path)
    return RubricReward(
        rubric, load_backbone(sources.inputs["model"].reference, sources.runtime), sources.runtime, settings
    )


class RubricReward:
    """The worth of an answer's class. Its parts: the share of each class, and 1 for an answer whose class is unreadable."""

    def __init__(self, rubric: Rubric, backbone: Backbone, runtime: Runtime, settings: Settings) -> None:
        self.rubric, self.backbone, self.runtime, self.settings = rubric, backbone, runtime, settings
        self.is_chat = settings.asked_in == "chat" and bool(getattr(backbone.tokenizer, "chat_template", None))

    def score(self, items: Sequence[Item]) -> list[Score]:
        """One score an item; DataError for a row that does not say whether its request should be refused."""
        wanted = [self._should_refuse(item) for item in items]
        found: list[Score] = []
        for start in range(0, len(items), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            for logprobs, should_refuse in zip(self._logprobs(items[part]), wanted[part], strict=True):
                found.append(self._score(logprobs, should_refuse))
        return found

    def class_of(self, score: Score) -> str:
        """The class that a score was given for: the likeliest one, or `unreadable`."""
        from tuningfork.judges.rubric import UNREADABLE

        if score.parts[UNREADABLE]:
            return UNREADABLE
        return self.rubric.likeliest([score.parts[f"class_{name}"] for name in self.rubric.classes])

    def _logprobs(self, items: Sequence[Item]) -> list[dict[str, float]]:
        from tuningfork.asking.labels import label_logprobs
        from tuningfork.evals.answers import make_prompts

        texts = [self.rubric.ask(item.prompt.strip(), item.response.strip()) for item in items]
        rows = [
            {"id": n, "messages": [{"role": "user", "content": text}]} if self.is_chat else {"id": n, "prompt": text}
            for n, text in enumerate(texts)
        ]
        prompts = [prompt.ids for prompt in make_prompts(self.backbone, rows)]
        return label_logprobs(self.backbone, prompts, [self.rubric.labels] * len(items), self.runtime)

    def _score(self, logprobs: dict[str, float], should_refuse: bool) -> Score:
        from tuningfork.asking.labels import label_shares
        from tuningfork.judges.rubric import UNREADABLE

        mass = math.fsum(math.exp(value) for value in logprobs.values())
        shares = label_shares(logprobs, self.rubric.labels)
        if shares is None or mass < self.settings.least_mass:
            parts = {f"class_{name}": 0.0 for name in self.rubric.classes} | {UNREADABLE: 1.0}
            return Score(self.rubric.worth(UNREADABLE, should_refuse), parts)
        parts = {f"class_{name}": share for name, share in zip(self.rubric.classes, shares, strict=True)}
        if self.settings.takes == "expected":
            total = self.rubric.expected(shares, should_refuse)
        else:
            total = self.rubric.worth(self.rubric.likeliest(shares), should_refuse)
        return Score(total, parts | {UNREADABLE: 0.0})

    def _should_refuse(self, item: Item) -> bool:
        value = column(item, self.settings.should_refuse)
        if not isinstance(value, bool):
            raise DataError(f"the column {self.settings.should_refuse!r} holds {value!r}; it has to be true or false")
        return value
