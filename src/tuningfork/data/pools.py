"""Token rows made from streamed rows while training goes on: a pool of about a megabyte of text at a time.

Rows of text become rows of tokens in numbers that depend on the text, so a step cannot be computed from its number alone.
What decides the next batch is small instead, and kept in checkpoints: which rows the pool began with, how many of its
token rows are used, and the tokens that the pool before left over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tuningfork.data.adapters import Placed
from tuningfork.data.rows import TokenRow
from tuningfork.data.streaming import StreamedRows
from tuningfork.errors import DataError
from tuningfork.randomness import numpy_generator
from tuningfork.train.settings import Batching

POOL_BYTES = 1 << 20
"""Characters of text in a pool, about: what is packed and sorted together, and all that is held in memory as tokens."""
DRAWN_ROWS = 16
"""Rows that are read at a time."""
_MOST_EMPTY = 1000


@dataclass(frozen=True)
class Made:
    """What became of the rows of a pool."""

    rows: list[TokenRow]
    left_over: list[int] = field(default_factory=list)
    """tokens behind the last whole row, which begin the next pool"""
    num_left_out: int = 0
    """rows that are not trained on, because they are longer than the context"""


Make = Callable[[Sequence[Placed], list[int]], Made]
"""(canonical rows, tokens left over by the pool before) -> token rows."""


class Pools:
    """Batches of token rows in order. `state` after a batch and `restore` in another process give the same next batch.

    `rows` must be drawn `DRAWN_ROWS` at a time; `size_of` gives the characters of a canonical row.
    """

    def __init__(
        self,
        rows: StreamedRows,
        make: Make,
        size_of: Callable[[Mapping[str, Any]], int],
        *,
        batch_rows: int,
        batching: Batching,
        pool_bytes: int = POOL_BYTES,
    ) -> None:
        self.rows, self.make, self.size_of = rows, make, size_of
        self.batch_rows, self.batching, self.pool_bytes = batch_rows, batching, pool_bytes
        self._draw, self._used, self._left_over = 0, 0, list[int]()
        self._counts = (0, 0, 0)  # faulty rows, rows met and rows left out before this pool
        self._pool: list[TokenRow] | None = None
        self._next: tuple[int, list[int]] = (0, [])
        self.num_left_out = 0

    def batch(self) -> list[TokenRow]:
        """The next `batch_rows` token rows; a batch may span pools."""
        found: list[TokenRow] = []
        num_empty = 0
        while len(found) < self.batch_rows:
            pool = self._open()
            taken = pool[self._used : self._used + self.batch_rows - len(found)]
            found += taken
            self._used += len(taken)
            num_empty = 0 if taken else num_empty + 1
            if num_empty > _MOST_EMPTY:
                raise DataError(f"{self.rows.data.source}: {num_empty:,} times in a row no text to train on was found")
            if self._used == len(pool):
                self._close()
        return found

    def state(self) -> dict[str, Any]:
        """What decides the next batch."""
        return {
            "draw": self._draw,
            "used": self._used,
            "left_over": self._left_over,
            "counts": list(self._counts),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was taken."""
        self._draw, self._used, self._left_over = state["draw"], state["used"], list(state["left_over"])
        faulty, met, left_out = state["counts"]
        self._counts, self._pool = (faulty, met, left_out), None

    def _open(self) -> list[TokenRow]:
        """The token rows of the pool that begins at the current draw."""
        if self._pool is None:
            skipped = self.rows.data.skipped
            skipped.count, skipped.of, self.num_left_out = self._counts  # a pool made again is not counted twice
            placed: list[Placed] = []
            size, draw = 0, self._draw
            while size < self.pool_bytes:
                drawn = self.rows.placed(draw)
                placed += drawn
                size += sum(self.size_of(row) for _, row in drawn) + 1
                draw += 1
            made = self.make(placed, self._left_over)
            self.num_left_out += made.num_left_out
            self._pool, self._next = self._ordered(made.rows), (draw, made.left_over)
        return self._pool

    def _close(self) -> None:
        self._draw, self._left_over = self._next
        self._counts = (self.rows.data.skipped.count, self.rows.data.skipped.of, self.num_left_out)
        self._used, self._pool = 0, None

    def _ordered(self, rows: list[TokenRow]) -> list[TokenRow]:
        """Shuffled, because packing sorts by length; or batches of similar length, shuffled."""
        generator = numpy_generator(self.rows.seed, self.rows.purpose, "pool", self._draw)
        order = generator.permutation(len(rows))
        if self.batching == "length_grouped":
            by_length = order[np.argsort([len(rows[index].ids) for index in order], kind="stable")]
            batches = [by_length[at : at + self.batch_rows] for at in range(0, len(rows), self.batch_rows)]
            order = np.concatenate([order[:0], *(batches[index] for index in generator.permutation(len(batches)))])
        return [rows[index] for index in order]
