"""A budget of computing time, so that methods of different cost can be compared at equal cost.

On a CPU processor time counts, over the number of threads: what else runs on the machine costs nobody anything. On a GPU
it is the time of the clock. What is measured beside a training (looks, checkpoints) is not counted.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tuningfork.artifacts.files import write_text
from tuningfork.errors import RunError


def compute_clock(device: str) -> Callable[[], float]:
    """A clock in seconds of computing on `device`."""
    if device != "cpu":
        return time.perf_counter
    import torch

    return lambda: time.process_time() / torch.get_num_threads()


def open_budget(seconds: float | None, device: str, *, before: float = 0.0) -> Budget | None:
    """A budget of which an earlier stage spent `before`; None where none is asked for."""
    if seconds is None:
        return None
    if before >= seconds:
        raise RunError(f"the budget of {seconds:g} s was spent before training began ({before:.1f} s); give more")
    return Budget(seconds, compute_clock(device), before)


@dataclass
class Budget:
    """Seconds that a training may spend. A run with one is not bit-exact: how many steps fit depends on the machine."""

    seconds: float
    clock: Callable[[], float]
    spent: float = 0.0
    _is_counting: bool = field(default=False, init=False)

    @property
    def share(self) -> float:
        """Share of the budget that is spent, at most 1."""
        return min(1.0, self.spent / self.seconds)

    @property
    def is_spent(self) -> bool:
        """Whether nothing is left."""
        return self.spent >= self.seconds

    @contextmanager
    def spending(self) -> Iterator[None]:
        """Count what happens inside."""
        assert not self._is_counting, "time is counted once"
        started, self._is_counting = self.clock(), True
        try:
            yield
        finally:
            self.spent += self.clock() - started
            self._is_counting = False


@contextmanager
def preparing(budget: Budget | None, record: Path) -> Iterator[None]:
    """Take what happens inside from the budget, if there is one. A resumed run, which finds it done, takes what `record`
    says it cost."""
    if budget is None:
        yield
        return
    before = budget.spent
    with budget.spending():
        yield
    if record.is_file():
        budget.spent = before + float(json.loads(record.read_text(encoding="utf-8")))
    else:
        write_text(record, json.dumps(budget.spent - before))
