"""The scale of scores: mean and deviation on reference samples, so that a KL coefficient keeps its meaning.

Ziegler et al. 2019 (1909.08593), section 2.2: scores of the reference's own samples get mean 0 and variance 1.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from tuningfork.errors import DataError, RunError
from tuningfork.reward.base import Score

_LEAST_DEVIATION = 1e-6


@dataclass(frozen=True)
class ScoreScale:
    """Maps a raw score to (score - mean) / deviation.

    Example: ScoreScale(mean=2.0, deviation=0.5).apply([Score(3.0), Score(None)])  # totals 2.0 and None
    """

    mean: float
    deviation: float

    @classmethod
    def fit(cls, totals: Iterable[float | None]) -> Self:
        """Mean and deviation (over n) of the scorable ones; RunError when they do not differ."""
        totals = list(totals)
        known = [total for total in totals if total is not None]
        mean = math.fsum(known) / max(1, len(known))
        deviation = math.sqrt(math.fsum((total - mean) ** 2 for total in known) / max(1, len(known)))
        if not deviation > _LEAST_DEVIATION:
            raise RunError(
                f"the reward is dead: {len(known)} of {len(totals)} reference samples could be scored, all with "
                f"{mean:.3g}; nothing can be learnt from it"
            )
        return cls(mean, deviation)

    def apply(self, scores: Sequence[Score]) -> list[Score]:
        """The same scores with scaled totals; the parts stay as they were measured."""
        return [
            Score(None if score.total is None else (score.total - self.mean) / self.deviation, score.parts)
            for score in scores
        ]

    def save(self, path: Path) -> None:
        """Write as JSON."""
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote, exactly; DataError for anything else."""
        try:
            constants = json.loads(path.read_text(encoding="utf-8"))
            return cls(mean=float(constants["mean"]), deviation=float(constants["deviation"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path}: not a saved scale of scores ({error}); delete it to measure again") from error
