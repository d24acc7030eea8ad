"""Several rewards as one: a weighted sum of standardised scores, or one reward before another. No torch here."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tuningfork.reward.base import Item, Reward, Score
from tuningfork.reward.settings import Arm, CombinedSettings, GatedSettings


@dataclass(frozen=True)
class Standardised:
    """A reward whose totals are put on a common scale: (score - mean) / deviation, clipped."""

    reward: Reward
    arm: Arm
    mean: float
    deviation: float

    @classmethod
    def of(cls, reward: Reward, arm: Arm) -> Standardised:
        """With the mean and deviation of the settings."""
        return cls(reward, arm, arm.mean, arm.deviation)

    def value(self, raw: float) -> float:
        """A raw score on the common scale."""
        value = (raw - self.mean) / self.deviation
        return value if self.arm.clip is None else max(-self.arm.clip, min(self.arm.clip, value))


class Combined:
    """The sum. Each term's contribution is a part of its name; its own parts follow as `term/part`, unweighted."""

    def __init__(self, settings: CombinedSettings, terms: Mapping[str, Standardised]) -> None:
        assert settings.terms.keys() == terms.keys()
        self.terms = terms
        self.weights = {name: term.weight for name, term in settings.terms.items()}

    def score(self, items: Sequence[Item]) -> list[Score]:
        """One score an item; unscorable where one of the terms is."""
        columns = {name: term.reward.score(items) for name, term in self.terms.items()}
        return [self._sum({name: column[index] for name, column in columns.items()}) for index in range(len(items))]

    def _sum(self, scores: Mapping[str, Score]) -> Score:
        parts: dict[str, float] = {}
        contributions: list[float] = []
        for name, score in scores.items():
            parts.update({f"{name}/{part}": value for part, value in score.parts.items()})
            if score.total is not None:
                parts[name] = self.weights[name] * self.terms[name].value(score.total)
                contributions.append(parts[name])
        if len(contributions) < len(scores):
            return Score(None, parts)
        return Score(sum(contributions), parts, self._sum_prefixes(scores, parts))

    def _sum_prefixes(self, scores: Mapping[str, Score], parts: Mapping[str, float]) -> list[float] | None:
        """The sum for each prefix; a term without prefix scores counts at the end only."""
        columns = [
            [self.weights[name] * self.terms[name].value(prefix) for prefix in score.prefixes]
            for name, score in scores.items()
            if score.prefixes is not None
        ]
        if not columns:
            return None
        prefixes: list[float] = [math.fsum(values) for values in zip(*columns, strict=True)]
        prefixes[-1] = math.fsum(parts[name] for name in scores)
        return prefixes


class Gated:
    """One reward before another. The part `gate_decides` is 1 where the gate's score counts; both rewards' parts follow as
    `gate/part` and `otherwise/part`, with their standardised scores as `gate` and `otherwise`."""

    def __init__(self, settings: GatedSettings, gate: Standardised, otherwise: Standardised) -> None:
        self.settings, self.gate, self.otherwise = settings, gate, otherwise

    def score(self, items: Sequence[Item]) -> list[Score]:
        """One score an item; unscorable where the gate is, or where the reward is that counts."""
        columns = self.gate.reward.score(items), self.otherwise.reward.score(items)
        return [self._choose(item, *pair) for item, *pair in zip(items, *columns, strict=True)]

    def _choose(self, item: Item, first: Score, second: Score) -> Score:
        parts: dict[str, float] = {}
        for name, side, score in (("gate", self.gate, first), ("otherwise", self.otherwise, second)):
            parts.update({f"{name}/{part}": value for part, value in score.parts.items()})
            if score.total is not None:
                parts[name] = side.value(score.total)
        if first.total is None:
            return Score(None, parts)
        is_marked = self.settings.marked is not None and bool(item.metadata.get(self.settings.marked))
        decides = is_marked or first.total < self.settings.threshold
        parts["gate_decides"] = float(decides)
        side, chosen = (self.gate, first) if decides else (self.otherwise, second)
        prefixes = None if chosen.prefixes is None else [side.value(prefix) for prefix in chosen.prefixes]
        return Score(None if chosen.total is None else side.value(chosen.total), parts, prefixes)
