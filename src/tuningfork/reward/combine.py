"""A weighted sum of rewards: total = sum of weight (score - mean) / deviation. No torch here."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from tuningfork.reward.base import Item, Reward, Score
from tuningfork.reward.settings import CombinedSettings


class Combined:
    """The sum. Each term's contribution is a part of its name; its own parts follow as `term/part`, unweighted."""

    def __init__(self, settings: CombinedSettings, rewards: Mapping[str, Reward]) -> None:
        assert settings.terms.keys() == rewards.keys()
        self.settings, self.rewards = settings, rewards

    def score(self, items: Sequence[Item]) -> list[Score]:
        """One score an item; unscorable where one of the terms is."""
        columns = {name: reward.score(items) for name, reward in self.rewards.items()}
        return [self._sum({name: column[index] for name, column in columns.items()}) for index in range(len(items))]

    def _sum(self, scores: Mapping[str, Score]) -> Score:
        parts: dict[str, float] = {}
        contributions: list[float] = []
        for name, score in scores.items():
            parts.update({f"{name}/{part}": value for part, value in score.parts.items()})
            if score.total is not None:
                term = self.settings.terms[name]
                parts[name] = term.weight * (score.total - term.mean) / term.deviation
                contributions.append(parts[name])
        if len(contributions) < len(scores):
            return Score(None, parts)
        return Score(sum(contributions), parts, self._sum_prefixes(scores, parts))

    def _sum_prefixes(self, scores: Mapping[str, Score], parts: Mapping[str, float]) -> list[float] | None:
        """The sum for each prefix; a term without prefix scores counts at the end only."""
        columns = []
        for name, score in scores.items():
            if score.prefixes is not None:
                term = self.settings.terms[name]
                columns.append([term.weight * (prefix - term.mean) / term.deviation for prefix in score.prefixes])
        if not columns:
            return None
        prefixes: list[float] = [math.fsum(values) for values in zip(*columns, strict=True)]
        prefixes[-1] = math.fsum(parts[name] for name in scores)
        return prefixes
