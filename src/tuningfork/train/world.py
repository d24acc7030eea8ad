"""The processes that train together. One process for now; only this file may speak to torch.distributed."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class World:
    """A group of `size` processes that train one model; this is the group of one.

    Normalisers and moments go through `all_sum` and `all_gather_rows`, so that a larger group changes no mathematics.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_writer(self) -> bool:
        """Whether this process writes files."""
        return self.rank == 0

    def all_sum(self, value: Tensor) -> Tensor:
        """Sum of `value` over all processes."""
        return value

    def all_gather_rows(self, value: Tensor) -> Tensor:
        """Rows of every process, concatenated in rank order."""
        return value

    def barrier(self) -> None:
        """Wait until every process is here."""
