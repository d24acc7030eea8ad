"""What a return is compared with where there is no critic: an average over batches that are past.

A baseline leaves the expectation of the policy gradient as it is as long as it does not depend on the response it is
taken from (Williams 1992), and lowers its variance the nearer it is to the expected return.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MovingAverage:
    """Exponential average of the mean returns of earlier batches, without the pull to 0 of its first steps.

    total <- decay total + (1 - decay) x, weight <- decay weight + (1 - decay), value = total / weight; 0 before any
    batch.
    """

    decay: float
    total: float = 0.0
    weight: float = 0.0

    @property
    def value(self) -> float:
        """The average."""
        return self.total / self.weight if self.weight else 0.0

    def update(self, mean: float) -> MovingAverage:
        """The average after a batch whose mean was `mean`."""
        keep = self.decay
        return MovingAverage(keep, keep * self.total + (1.0 - keep) * mean, keep * self.weight + (1.0 - keep))

    def state(self) -> dict[str, float]:
        """What a checkpoint keeps."""
        return {"total": self.total, "weight": self.weight}

    def restored(self, state: dict[str, float]) -> MovingAverage:
        """The average as it was when `state` was taken."""
        return MovingAverage(self.decay, state["total"], state["weight"])
