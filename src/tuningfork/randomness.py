"""Every random draw is a function of (seed, purpose, step or item), never of what was drawn before.

Uniform numbers for sampling come from a counter-based generator (SplitMix64 of Steele, Lea and Flood, OOPSLA 2014):
the number for (sample key, position) does not depend on the row, the batch or the rank the sample is computed in.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

_GOLDEN_GAMMA = np.uint64(0x9E3779B97F4A7C15)


def derive_seed(seed: int, *purpose: object) -> int:
    """A 63-bit seed for one purpose; equal arguments give equal seeds on every machine."""
    text = "\x1f".join(str(part) for part in (seed, *purpose))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def uniforms(keys: Sequence[int] | np.ndarray, position: int | np.ndarray) -> np.ndarray:
    """Doubles in [0, 1) for each key at `position`; (N,) for a number, (N, P) for an array of P positions."""
    state = np.asarray(keys, dtype=np.uint64)
    where = np.asarray(position, dtype=np.uint64)
    if where.ndim:
        state = state[:, None]
    with np.errstate(over="ignore"):
        mixed = state + (where + np.uint64(1)) * _GOLDEN_GAMMA
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed = mixed ^ (mixed >> np.uint64(31))
    return (mixed >> np.uint64(11)).astype(np.float64) * 2.0**-53


def numpy_generator(seed: int, *purpose: object) -> np.random.Generator:
    """A numpy generator (Philox, counter-based) for one purpose."""
    return np.random.Generator(np.random.Philox(derive_seed(seed, *purpose)))


def generator(seed: int, *purpose: object) -> torch.Generator:
    """A torch CPU generator for one purpose."""
    import torch

    return torch.Generator().manual_seed(derive_seed(seed, *purpose))
