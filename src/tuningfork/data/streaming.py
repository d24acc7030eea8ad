"""Rows of files that do not fit into memory, shuffled over the whole file, with an exact place to resume at."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from tuningfork.data.blocks import BLOCK_BYTES, Blocks, find_blocks
from tuningfork.data.formats.jsonl import row_of
from tuningfork.data.raw import Row
from tuningfork.data.reader import Dataset
from tuningfork.errors import DataError
from tuningfork.randomness import numpy_generator

GROUP_BLOCKS = 32
_LEAST_ROWS = 200
"""Rows that are met before their faulty share is judged."""


class StreamedRows:
    """Batches of canonical rows, a function of (files, seed, purpose, step) alone: any step can be asked for at any time.

    An epoch visits every row once. Blocks of lines are shuffled over all files, then the rows of each `group_blocks`
    consecutive blocks among themselves; one such group (8 MB by default) is all that is held in memory.

    Example:
        rows = StreamedRows(open_data("stories.jsonl.gz"), cache, batch_rows=64, seed=0, purpose="text")
        rows.batch(1000)  # the rows of step 1000, in this process or in another one
    """

    def __init__(
        self,
        data: Dataset,
        cache: Path,
        *,
        batch_rows: int,
        seed: int,
        purpose: str,
        block_bytes: int = BLOCK_BYTES,
        group_blocks: int = GROUP_BLOCKS,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        if data.source.startswith(("world:", "hf:")):
            raise DataError(f"{data.source}: only files are streamed; `tuningfork data convert` writes one")
        if data.shape == "tree":
            raise DataError(
                f"{data.source}: message trees are not streamed, since their rows belong together; "
                "`tuningfork data convert --to conversation` makes rows that are"
            )
        self.data, self.batch_rows, self.seed, self.purpose = data, batch_rows, seed, purpose
        self.group_blocks = group_blocks
        self.blocks: Blocks = find_blocks(data.source, cache, block_bytes, say)
        self.num_rows = self.blocks.num_rows
        self._order: tuple[int, np.ndarray, np.ndarray] | None = None
        self._group: tuple[tuple[int, int], list[tuple[str, bytes]]] | None = None

    def batch(self, step: int) -> list[Row]:
        """The rows of one step, from 0. A faulty row is left out and counted in `data.skipped`.

        DataError at the first faulty row of strict data, or once more of the rows met are faulty than may be.
        """
        return [row for _, row in self.placed(step)]

    def placed(self, step: int) -> list[tuple[str, Row]]:
        """(place, row) of the rows of one step."""
        rows: list[tuple[str, Row]] = []
        for place, line in self.lines(step):
            self.data.skipped.of += 1
            rows += [(place, row) for row in self.data.parse(row_of(line, place))]
        if self.data.skipped.of >= min(_LEAST_ROWS, self.num_rows):
            self.data.check_share()
        return rows

    def lines(self, step: int) -> list[tuple[str, bytes]]:
        """(place, line) of the rows of one step, `batch_rows` of them; a batch may span two epochs."""
        first = step * self.batch_rows
        found: list[tuple[str, bytes]] = []
        while len(found) < self.batch_rows:
            epoch, position = divmod(first + len(found), self.num_rows)
            group, offset = self._locate(epoch, position)
            found += self._rows(epoch, group)[offset : offset + self.batch_rows - len(found)]
        return found

    def _locate(self, epoch: int, position: int) -> tuple[int, int]:
        """The group that holds a position of an epoch, and the offset in it."""
        _, ends = self._epoch(epoch)
        group = int(np.searchsorted(ends, position, side="right"))
        return group, position - (int(ends[group - 1]) if group else 0)

    def _epoch(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """The blocks of an epoch in their order, and behind how many rows each group ends."""
        if self._order is None or self._order[0] != epoch:
            generator = numpy_generator(self.seed, self.purpose, "blocks", epoch)
            order = generator.permutation(len(self.blocks.rows))
            starts = np.arange(0, len(order), self.group_blocks)
            self._order = epoch, order, np.add.reduceat(self.blocks.rows[order], starts).cumsum()
        return self._order[1:]

    def _rows(self, epoch: int, group: int) -> list[tuple[str, bytes]]:
        """The rows of a group, shuffled."""
        if self._group is None or self._group[0] != (epoch, group):
            order, _ = self._epoch(epoch)
            blocks = order[group * self.group_blocks : (group + 1) * self.group_blocks]
            rows = [row for block in blocks for row in self.blocks.read(int(block))]
            shuffled = numpy_generator(self.seed, self.purpose, "rows", epoch, group).permutation(len(rows))
            self._group = (epoch, group), [rows[index] for index in shuffled]
        return self._group[1]
