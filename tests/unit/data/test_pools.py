"""Pools of token rows from streamed rows: nothing lost, nothing twice, and the same rows from any place on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tuningfork.data.adapters import Placed
from tuningfork.data.pools import DRAWN_ROWS, Made, Pools
from tuningfork.data.reader import open_data
from tuningfork.data.rows import TokenRow, fill_rows
from tuningfork.data.streaming import StreamedRows
from tuningfork.errors import DataError

ROWS = 300
LONGEST = 40


def letters(texts: Sequence[str]) -> list[list[int]]:
    return [[ord(letter) for letter in text] for text in texts]


def concatenated(placed: Sequence[Placed], left_over: list[int]) -> Made:
    return Made(*fill_rows(letters, [row["text"] for _, row in placed], 12, [1], 0, left_over))


def one_each(placed: Sequence[Placed], left_over: list[int]) -> Made:
    rows = [TokenRow(ids, [True] * len(ids)) for ids in letters([row["text"] for _, row in placed])]
    kept = [row for row in rows if len(row.ids) <= LONGEST]
    return Made(kept, num_left_out=len(rows) - len(kept))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    lines = [json.dumps({"text": f"{n}" + "x" * (n % 45)}) for n in range(ROWS)]
    lines[120] = "oops"
    path.write_text("\n".join(lines))
    return path


def pools(path: Path, make: Any = concatenated, batching: Any = "random", batch_rows: int = 5) -> Pools:
    rows = StreamedRows(
        open_data(path, skip_share=0.02), path.parent / "cache", batch_rows=DRAWN_ROWS, seed=0, purpose="text",
        block_bytes=256, group_blocks=4,
    )  # fmt: skip
    return Pools(rows, make, lambda row: len(row["text"]), batch_rows=batch_rows, batching=batching, pool_bytes=900)


@pytest.mark.parametrize("batching", ["random", "length_grouped"])
@pytest.mark.parametrize("make", [concatenated, one_each])
def test_a_restored_state_goes_on_with_the_same_rows(path: Path, make: Any, batching: Any) -> None:
    straight = pools(path, make, batching)
    states, batches = [], []
    for _ in range(120):
        states.append(json.loads(json.dumps(straight.state())))
        batches.append(straight.batch())
    for start in (0, 1, 37, 118):
        resumed = pools(path, make, batching)
        resumed.restore(states[start])
        assert [resumed.batch() for _ in range(start, 120)] == batches[start:]
        assert resumed.state() == straight.state()
        assert (resumed.rows.data.skipped.count, resumed.num_left_out) == (
            straight.rows.data.skipped.count,
            straight.num_left_out,
        )


def test_every_row_once_an_epoch(path: Path) -> None:
    """At the end of a pool each row was visited as often as any other, or once more."""
    found = pools(path, one_each, batch_rows=1)
    fits = {n for n in range(ROWS) if n != 120 and len(f"{n}") + n % 45 <= LONGEST}
    seen: list[int] = []
    while found.state()["draw"] < 50 or found.state()["used"]:
        seen.append(int("".join(map(chr, found.batch()[0].ids)).rstrip("x")))
    epochs = found.state()["draw"] * DRAWN_ROWS // ROWS
    assert set(seen) == fits and epochs >= 2
    assert {seen.count(n) for n in fits} == {epochs, epochs + 1}
    assert seen[: len(fits)] != sorted(seen[: len(fits)])
    assert found.num_left_out + len(seen) + found.rows.data.skipped.count == found.state()["draw"] * DRAWN_ROWS


def test_no_token_is_lost_between_pools(path: Path) -> None:
    """Rows of some pools, in any order, hold the tokens of their documents, and the rest waits."""
    found = pools(path, batch_rows=1)
    tokens = []
    while found.state()["draw"] < 12 or found.state()["used"]:
        tokens += found.batch()[0].ids[1:]
    state = found.state()
    documents = [ids for draw in range(state["draw"]) for ids in letters([r["text"] for r in found.rows.batch(draw)])]
    assert sorted(tokens + state["left_over"]) == sorted(token for ids in documents for token in [*ids, 0])
    assert len(state["left_over"]) < 11, "less than a row"


def test_grouped_batches_are_of_similar_length(path: Path) -> None:
    def spread(batching: Any) -> int:
        found = pools(path, one_each, batching)
        batches = [[len(row.ids) for row in found.batch()] for _ in range(20)]
        return sum(max(batch) - min(batch) for batch in batches)

    assert spread("length_grouped") < spread("random") / 2


def test_data_without_text_to_train_on_are_named(path: Path) -> None:
    with pytest.raises(DataError, match="no text to train on was found"):
        pools(path, lambda placed, left_over: Made([])).batch()
