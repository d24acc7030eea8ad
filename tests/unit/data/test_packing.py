"""Bins, packed rows and orders: nothing is lost, nothing comes twice, nothing depends on what it should not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuningfork.data.packing import best_fit, document_rows, pack_rows, padding_share
from tuningfork.data.rows import LengthGroupedOrder, RowOrder, TokenRow
from tuningfork.errors import DataError
from tuningfork.streams.text import collate

LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=120)


def letters(texts: Any) -> list[list[int]]:
    return [[ord(letter) for letter in text] for text in texts]


def rows_of(lengths: list[int]) -> list[TokenRow]:
    """Row r holds the ids 100 r, 100 r + 1, ...; everything but its first token is a target."""
    return [TokenRow([100 * r + i for i in range(n)], [i > 0 for i in range(n)]) for r, n in enumerate(lengths)]


@settings(deadline=None)
@given(LENGTHS, st.integers(40, 60))
def test_every_document_is_in_one_bin_that_holds_it(lengths: list[int], capacity: int) -> None:
    bins = best_fit(lengths, capacity)
    assert sorted(index for bin_ in bins for index in bin_) == list(range(len(lengths)))
    assert all(sum(lengths[index] for index in bin_) <= capacity for bin_ in bins)
    assert bins == best_fit(lengths, capacity)


@settings(deadline=None)
@given(LENGTHS, st.integers(40, 60))
def test_bins_are_few(lengths: list[int], capacity: int) -> None:
    """Best-fit decreasing needs at most 11/9 of the best number of bins and one more (Johnson 1973)."""
    least = -(-sum(lengths) // capacity)
    num_bins = len(best_fit(lengths, capacity))
    assert num_bins >= least
    # no two bins fit into one, so all but one are more than half full
    assert num_bins <= 2 * least


@settings(deadline=None)
@given(LENGTHS, st.integers(40, 60))
def test_bins_are_those_of_a_plain_search(lengths: list[int], capacity: int) -> None:
    """The fullest bin with room, found by looking at all of them: the same fill levels."""
    free: list[int] = []
    for length in sorted(lengths, reverse=True):
        fitting = [room for room in free if room >= length]
        if fitting:
            free.remove(min(fitting))
            free.append(min(fitting) - length)
        else:
            free.append(capacity - length)
    found = [capacity - sum(lengths[index] for index in bin_) for bin_ in best_fit(lengths, capacity)]
    assert sorted(found) == sorted(free)


def test_a_worked_example() -> None:
    # 6 opens a bin of 10; 5 the next; 4 fills the first (4 free beats 5 free); 3 and 2 fill the second
    assert best_fit([3, 6, 4, 5, 2], 10) == [[1, 2], [3, 0, 4]]


@settings(deadline=None)
@given(LENGTHS, st.integers(40, 60))
def test_packed_rows_hold_each_document_whole(lengths: list[int], capacity: int) -> None:
    rows = rows_of(lengths)
    packed = pack_rows(rows, capacity)
    found = []
    for row in packed:
        assert len(row.ids) == len(row.is_target) <= capacity
        for start, end in zip(row.starts, [*row.starts[1:], len(row.ids)], strict=True):
            found.append((row.ids[start:end], row.is_target[start:end]))
    assert sorted(found) == sorted((row.ids, row.is_target) for row in rows)


def test_the_first_token_of_a_document_is_no_target() -> None:
    (row,) = pack_rows([TokenRow([5, 6], [False, True]), TokenRow([7, 8, 9], [True, True, True])], 5)
    assert (row.ids, row.is_target, row.starts) == ([7, 8, 9, 5, 6], [False, True, True, False, True], (0, 3))


def test_a_row_that_does_not_fit_is_refused() -> None:
    with pytest.raises(DataError, match="a row has 6 tokens, more than a packed row of 5"):
        pack_rows(rows_of([6]), 5)


def test_long_documents_are_cut_and_every_token_but_bos_is_learnt() -> None:
    rows = document_rows(letters, ["ab", "cdefg"], 4, start=[1], eos=2)
    assert [row.ids for row in rows] == [[1, 97, 98, 2], [1, 99, 100, 101], [1, 102, 103, 2]]
    assert all(row.is_target == [False, True, True, True] for row in rows)
    bare = document_rows(letters, ["abc"], 4, start=[], eos=2)
    assert [(row.ids, row.is_target) for row in bare] == [([97, 98, 99, 2], [False, True, True, True])]
    # the last piece is EOS alone: nothing stands before it, so nothing can be learnt
    assert [row.ids for row in document_rows(letters, ["abcd"], 4, start=[], eos=2)] == [[97, 98, 99, 100]]


def test_collated_documents_are_numbered_and_padding_is_one_of_its_own() -> None:
    packed = TokenRow([7, 8, 9, 5, 6], [False, True, True, False, True], (0, 3))
    batch = collate([packed, TokenRow([1, 2], [False, True])], pad_id=0)
    assert batch.documents is not None
    assert batch.documents.tolist() == [[0, 0, 0, 1, 1], [0, 0, 1, 1, 1]]
    assert batch.mask.tolist() == [[True] * 5, [True, True, False, False, False]]
    assert collate([TokenRow([1, 2], [False, True])], pad_id=0).documents is None


def test_padding_share_counts_positions() -> None:
    # batches (4, 2) and (1, 3): 8 + 6 positions, 10 tokens
    assert padding_share([4, 2, 1, 3], lambda step: [[0, 1], [2, 3]][step], 2) == pytest.approx(4 / 14)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 90), st.integers(1, 17), st.integers(0, 3), st.data())
def test_orders_visit_every_row_once_an_epoch(num_rows: int, batch_rows: int, seed: int, data: Any) -> None:
    lengths = data.draw(st.lists(st.integers(1, 99), min_size=num_rows, max_size=num_rows))
    for order in (
        RowOrder(num_rows, batch_rows, seed, "rows"),
        LengthGroupedOrder(num_rows, batch_rows, seed, "rows", lengths),
    ):
        num_steps = -(-3 * num_rows // batch_rows)
        visited = [index for step in range(num_steps) for index in order.indices(step)]
        for epoch in range(3):
            assert sorted(visited[epoch * num_rows : (epoch + 1) * num_rows]) == list(range(num_rows))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 60), st.integers(1, 9), st.integers(0, 20))
def test_a_step_is_the_same_from_wherever_one_comes(num_rows: int, batch_rows: int, step: int) -> None:
    lengths = [(7 * index) % 23 + 1 for index in range(num_rows)]
    straight = LengthGroupedOrder(num_rows, batch_rows, 5, "rows", lengths)
    for earlier in range(step):
        straight.indices(earlier)
    assert straight.indices(step) == LengthGroupedOrder(num_rows, batch_rows, 5, "rows", lengths).indices(step)


def test_grouped_batches_hold_rows_of_similar_length_in_another_order_each_epoch() -> None:
    lengths = [(31 * index) % 97 + 1 for index in range(640)]
    plain = RowOrder(640, 16, 0, "rows")
    grouped = LengthGroupedOrder(640, 16, 0, "rows", lengths)
    assert padding_share(lengths, plain.indices, 80) > 0.4
    assert padding_share(lengths, grouped.indices, 80) < 0.1
    longest = [max(lengths[index] for index in grouped.indices(step)) for step in range(40)]
    assert longest != sorted(longest) and longest != sorted(longest, reverse=True)
    assert {tuple(grouped.indices(step)) for step in range(40)} != {
        tuple(grouped.indices(step + 40)) for step in range(40)
    }
