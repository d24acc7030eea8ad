"""Texts that occur more than once: exactly (white space and case aside), or nearly, by MinHash.

MinHash: Broder, "On the resemblance and containment of documents", 1997. A text is the set of its runs of SHINGLE words;
signatures of PERMUTATIONS minima are cut into bands (locality-sensitive hashing), and every pair that shares a band is
compared exactly: the Jaccard similarity of the two sets.
"""

from __future__ import annotations

import hashlib
import zlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import combinations, pairwise

import numpy as np

SHINGLE = 3
PERMUTATIONS, BANDS = 64, 16
NEAR = 0.8
"""Least Jaccard similarity of near duplicates."""
MOST_WORDS = 300
"""Words of a text that are compared; the rest is left aside."""
_LARGEST_BUCKET = 50
_PRIME = np.uint64((1 << 31) - 1)


def fingerprint(text: str) -> bytes:
    """Equal for texts that differ only in case and white space."""
    return hashlib.blake2b(" ".join(text.casefold().split()).encode("utf-8", "surrogatepass"), digest_size=12).digest()


def repeats(texts: Sequence[str]) -> list[int]:
    """Numbers of the texts that equal an earlier one; empty texts are left aside."""
    seen: set[bytes] = set()
    found = []
    for number, text in enumerate(texts):
        key = fingerprint(text)
        if key in seen and text.strip():
            found.append(number)
        seen.add(key)
    return found


def near_pairs(texts: Sequence[str], near: float = NEAR) -> list[tuple[int, int]]:
    """Pairs of different texts with at least this similarity, the earlier first; equal texts are left aside.

    Texts of fewer than SHINGLE + 2 words are too short to tell and are left aside. A pair of exactly the least similarity is found
    with a probability of 1 - (1 - near^4)^16, above .999 for .8.
    """
    hashes = _WordHashes()
    sets = {number: shingles for number, text in enumerate(texts) if len(shingles := _shingles(text, hashes)) > 2}
    if len(sets) < 2:
        return []
    numbers = list(sets)
    signatures = _signatures([sets[number] for number in numbers])
    prints = {number: fingerprint(texts[number]) for number in numbers}
    candidates: set[tuple[int, int]] = set()
    for band in np.split(signatures, BANDS, axis=1):
        buckets: dict[bytes, list[int]] = defaultdict(list)
        for number, piece in zip(numbers, band, strict=True):
            buckets[piece.tobytes()].append(number)
        for members in buckets.values():
            # a bucket of very many is one text said again and again: neighbours are enough to count them
            pairs = combinations(members, 2) if len(members) <= _LARGEST_BUCKET else pairwise(members)
            candidates.update(pairs)
    return sorted((a, b) for a, b in candidates if prints[a] != prints[b] and jaccard(sets[a], sets[b]) >= near)


def jaccard(a: set[int], b: set[int]) -> float:
    """Size of the intersection over size of the union."""
    both = len(a & b)
    return both / (len(a) + len(b) - both) if a or b else 0.0


class _WordHashes(dict[str, int]):
    """The same hash for a word in every process, computed once."""

    def __missing__(self, word: str) -> int:
        self[word] = hashed = zlib.crc32(word.encode("utf-8", "surrogatepass"))
        return hashed


def _shingles(text: str, hashes: _WordHashes) -> set[int]:
    words = [hashes[word] for word in text.casefold().split()[:MOST_WORDS]]
    return {(a * 31 + b) * 31 + c & 0x7FFFFFFF for a, b, c in zip(words, words[1:], words[2:], strict=False)}


def _signatures(sets: Iterable[set[int]]) -> np.ndarray:
    """(texts, PERMUTATIONS) minima of random linear maps modulo a prime."""
    generator = np.random.Generator(np.random.Philox(20_261_121))
    slopes, offsets = generator.integers(1, int(_PRIME), (2, PERMUTATIONS), dtype=np.uint64)
    rows = []
    for values in sets:
        hashed = np.fromiter(values, dtype=np.uint64, count=len(values))
        rows.append(((np.outer(hashed, slopes) + offsets) % _PRIME).min(axis=0))
    return np.array(rows, dtype=np.uint32)
