"""Several documents in one row, without cross-talk: which go together, and how much padding is left.

Best-fit decreasing (Johnson 1973; for language models Ding et al. 2024, 2404.10830): the longest document first, each into
the fullest row that still has room. A packed row remembers where its documents start; the model restarts positions and
attention there, and the first token of a document is never a target.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Sequence

from tuningfork.data.rows import Encode, TokenRow
from tuningfork.errors import DataError


def best_fit(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Bins of document indices whose lengths add up to at most `capacity`; every document is in one of them.

    Equal lengths keep their order, so the bins are a function of the lengths. Each length is at most `capacity`.
    """
    bins: list[list[int]] = []
    with_room: dict[int, list[int]] = {}  # free tokens -> bins
    rooms: list[int] = []  # the keys of `with_room`, ascending
    for index in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        length = lengths[index]
        assert 0 < length <= capacity, "a document is cut or refused before it is packed"
        place = bisect_left(rooms, length)
        if place == len(rooms):
            room, number = capacity, len(bins)
            bins.append([])
        else:
            room = rooms[place]
            number = with_room[room].pop()
            if not with_room[room]:
                del with_room[room], rooms[place]
        bins[number].append(index)
        if room > length:
            if room - length not in with_room:
                insort(rooms, room - length)
            with_room.setdefault(room - length, []).append(number)
    return bins


def pack_rows(rows: Sequence[TokenRow], length: int) -> list[TokenRow]:
    """The rows, each a document, packed into rows of at most `length` tokens. DataError for a row longer than that."""
    longest = max(len(row.ids) for row in rows)
    if longest > length:
        raise DataError(f"a row has {longest} tokens, more than a packed row of {length}; set a larger `length`")
    return [_joined([rows[index] for index in bin_]) for bin_ in best_fit([len(row.ids) for row in rows], length)]


def _joined(documents: Sequence[TokenRow]) -> TokenRow:
    ids: list[int] = []
    is_target: list[bool] = []
    starts: list[int] = []
    for document in documents:
        assert document.starts == (0,), "a packed row is not packed again"
        starts.append(len(ids))
        ids += document.ids
        is_target += [False, *document.is_target[1:]]
    return TokenRow(ids, is_target, tuple(starts))


def document_rows(encode: Encode, texts: Sequence[str], length: int, start: Sequence[int], eos: int) -> list[TokenRow]:
    """Each text with EOS behind it as a row of its own; one longer than `length` is cut into rows that begin alike.

    Every token but the `start` is a target (without a `start`, every token but a row's first).
    """
    body = length - len(start)
    rows = []
    for ids in encode(texts):
        document = [*ids, eos]
        for offset in range(0, len(document), body):
            piece = document[offset : offset + body]
            is_target = [False] * len(start) + [True] * len(piece)
            is_target[0] = False
            rows.append(TokenRow([*start, *piece], is_target))
    return [row for row in rows if any(row.is_target)]


def padding_share(lengths: Sequence[int], batches: Callable[[int], Sequence[int]], num_steps: int) -> float:
    """Share of padding among all positions of `num_steps` batches; `batches(step)` names the rows of one."""
    real = positions = 0
    for step in range(num_steps):
        sizes = [lengths[index] for index in batches(step)]
        real += sum(sizes)
        positions += len(sizes) * max(sizes)
    return 1 - real / positions
