"""A gold judge in the place of a judge: by one of its measures the better response is preferred. To measure others by."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import tuningfork.settings
from tuningfork.judges.base import Judge, Opinion, Pair, RaterKind
from tuningfork.settings import Input

if TYPE_CHECKING:
    from tuningfork.evals.gold import GoldJudge
    from tuningfork.stage import StageContext


class Settings(tuningfork.settings.Settings):
    """Settings of a gold judge as judge."""

    gold: str
    """a world (`colours`) or a module of evals (`sentiment`)"""
    truth: Input
    """artifact that holds what the judge knows"""
    measure: str
    """which of its measures decides"""


def load(stage: StageContext, settings: Settings, field: str) -> Judge:
    """The judge; RecipeError where it has no such measure, or one without a good direction."""
    from tuningfork.errors import RecipeError
    from tuningfork.evals.gold import load_gold

    gold = load_gold(settings.gold, Path(stage.inputs[f"{field}.truth"].reference))
    known = {measure.name: measure.direction for measure in gold.measures if measure.direction != "same"}
    if settings.measure not in known:
        raise RecipeError(f"{field}.measure: {settings.gold} has no measure {settings.measure!r}: {', '.join(known)}")
    return MeasuredBy(gold, settings.gold, settings.measure, 1 if known[settings.measure] == "higher" else -1)


class MeasuredBy:
    """Prefers what a gold judge measures as better; equal measures are a tie."""

    kind: RaterKind = "rule"

    def __init__(self, gold: GoldJudge, name: str, measure: str, sign: int) -> None:
        self.gold, self.measure, self.sign = gold, measure, sign
        self.name = f"gold {name} {measure}"

    def compare(self, pairs: Sequence[Pair]) -> list[Opinion | None]:
        """One opinion a pair; none where the measure does not apply to the prompt."""
        first, second = self._values(pairs), self._values([pair.swapped() for pair in pairs])
        return [
            Opinion(None, f"{self.measure} does not apply")
            if a is None or b is None
            else Opinion(0.5 + 0.5 * self.sign * ((a > b) - (a < b)), f"{a:g} | {b:g}")
            for a, b in zip(first, second, strict=True)
        ]

    def _values(self, pairs: Sequence[Pair]) -> list[float | None]:
        from tuningfork.evals.gold import Answer

        rows = [{"id": pair.id, "root": pair.root, "prompt": pair.prompt, **pair.row} for pair in pairs]
        answers = [Answer(pair.a.text, pair.a.has_ended) for pair in pairs]
        return [found.get(self.measure) for found in self.gold.judge(rows, answers)]
