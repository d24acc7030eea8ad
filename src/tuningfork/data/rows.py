"""Token rows for training: packed text, prompt and completion, and the order in which rows are visited."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from tuningfork.errors import DataError
from tuningfork.randomness import numpy_generator

GROUP = 32
"""Batches that are sorted by length together: more leave less padding and less chance in what meets in a batch."""

Encode = Callable[[Sequence[str]], list[list[int]]]
"""Token ids of texts, without special tokens."""


@dataclass(frozen=True)
class TokenRow:
    """One training row: token ids and, for each, whether it is a target of the loss.

    `starts` are the columns where its documents start; only a packed row has more than one.

    Example:
        TokenRow(ids=[5, 9, 2], is_target=[False, True, True])  # prompt 5, completion 9, EOS 2
    """

    ids: list[int]
    is_target: list[bool]
    starts: tuple[int, ...] = (0,)


def pack_text(encode: Encode, texts: Sequence[str], length: int, start: Sequence[int], eos: int) -> list[TokenRow]:
    """Documents with EOS behind each, cut into rows of `length` tokens that begin with `start` (BOS, or nothing).

    The tail shorter than a row is dropped. Attention may cross documents within a row, as in GPT-2 and GPT-3. Every token but
    the `start` is a target.
    """
    rows, rest = fill_rows(encode, texts, length, start, eos)
    if not rows:
        raise DataError(
            f"the text holds {len(rest)} tokens, fewer than one row of {length}; give more text or shorter rows"
        )
    return rows


def fill_rows(
    encode: Encode,
    texts: Sequence[str],
    length: int,
    start: Sequence[int],
    eos: int,
    left_over: Sequence[int] = (),
) -> tuple[list[TokenRow], list[int]]:
    """`pack_text` of a part of the texts: its whole rows, and the tokens left over, which begin the next part's."""
    body = length - len(start)
    stream = [*left_over, *(token for ids in encode(texts) for token in (*ids, eos))]
    is_target = [False] * len(start) + [True] * body
    is_target[0] = False  # nothing stands before it
    ends = range(0, len(stream) + 1, body)
    return [TokenRow([*start, *stream[a:b]], is_target) for a, b in pairwise(ends)], stream[ends[-1] :]


def prompt_completion_rows(
    encode: Encode, pairs: Sequence[tuple[str, str]], start: Sequence[int], eos: int, places: Sequence[str]
) -> list[TokenRow]:
    """Prompt and completion tokenised apart and joined, so that no merge crosses the boundary; EOS is a target.

    Raises DataError, beginning with its place, for a row without a completion.
    """
    prompts = encode([prompt for prompt, _ in pairs])
    completions = encode([completion for _, completion in pairs])
    rows = []
    for place, prompt, completion in zip(places, prompts, completions, strict=True):
        if not completion:
            raise DataError(f"{place}: an empty completion; remove it or give it an answer")
        ids = [*start, *prompt, *completion, eos]
        num_prompt = len(start) + len(prompt)
        rows.append(TokenRow(ids, [False] * num_prompt + [True] * (len(ids) - num_prompt)))
    return rows


@dataclass(frozen=True)
class RowOrder:
    """Which rows step `step` trains on: a function of (seed, purpose, epoch, step) alone, so a resumed or a differently
    distributed run visits the same rows. Every epoch is one permutation; a batch may span two epochs."""

    num_rows: int
    batch_rows: int
    seed: int
    purpose: str

    def __post_init__(self) -> None:
        if self.num_rows == 0:
            raise DataError(f"no rows to train on ({self.purpose})")

    def indices(self, step: int) -> list[int]:
        """Row numbers of the batch at `step` (0-based), `batch_rows` of them."""
        first = step * self.batch_rows
        chosen: list[int] = []
        while len(chosen) < self.batch_rows:
            epoch, offset = divmod(first + len(chosen), self.num_rows)
            wanted = self.batch_rows - len(chosen)
            chosen.extend(self._permutation(epoch)[offset : offset + wanted].tolist())
        return chosen

    def _permutation(self, epoch: int) -> np.ndarray:
        cached = self.__dict__.get("_cached")
        if cached is None or cached[0] != epoch:
            cached = (epoch, numpy_generator(self.seed, self.purpose, "epoch", epoch).permutation(self.num_rows))
            object.__setattr__(self, "_cached", cached)
        return cached[1]


@dataclass(frozen=True)
class LengthGroupedOrder(RowOrder):
    """Rows of similar length in one batch, so that little is padding; still a function of (seed, purpose, epoch, step).

    An epoch is a random permutation, sorted by length within runs of `GROUP` batches, its batches in random order. The
    rows of a batch that spans two epochs stay where the permutation put them.
    """

    lengths: Sequence[int] = ()

    def _permutation(self, epoch: int) -> np.ndarray:
        order = super()._permutation(epoch)
        cached = self.__dict__.get("_grouped")
        if cached is None or cached[0] != epoch:
            cached = (epoch, self._group(order, epoch))
            object.__setattr__(self, "_grouped", cached)
        return cached[1]

    def _group(self, order: np.ndarray, epoch: int) -> np.ndarray:
        size = self.batch_rows
        num_before = min(-(epoch * self.num_rows) % size, self.num_rows)  # they fill the last batch of the epoch before
        num_whole = (self.num_rows - num_before) // size
        rest, body = order[num_whole * size :], order[: num_whole * size]
        lengths = np.asarray(self.lengths)
        runs = [body[start : start + GROUP * size] for start in range(0, len(body), GROUP * size)]
        ordered = [run[np.argsort(lengths[run], kind="stable")] for run in runs]
        batches = np.concatenate([order[:0], *ordered]).reshape(num_whole, size)
        shuffled = batches[numpy_generator(self.seed, self.purpose, "batches", epoch).permutation(num_whole)]
        return np.concatenate([rest[:num_before], shuffled.reshape(-1), rest[num_before:]])
