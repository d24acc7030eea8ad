"""What the formula tests share: one comparison with a capped tolerance, ragged data, derivatives of plain functions."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

LARGEST_TOLERANCE = 1e-6

Rows = list[list[float]]


def close(actual: Any, expected: Any, tolerance: float = 1e-9) -> None:
    """Same shape, and no entry further apart than `tolerance`, relative for numbers above 1; NaN is never close."""
    assert tolerance <= LARGEST_TOLERANCE, "a tolerance this wide accepts wrong formulas"
    actual = torch.as_tensor(actual, dtype=torch.float64).detach()
    expected = torch.as_tensor(expected, dtype=torch.float64).detach()
    assert actual.shape == expected.shape, f"shape {tuple(actual.shape)} is not {tuple(expected.shape)}"
    off = (actual - expected).abs() / expected.abs().clamp(min=1.0)
    assert bool((off <= tolerance).all()), f"off by {off.max().item():.3g}\n{actual}\n{expected}"


def ragged(seed: int, lengths: Sequence[int], scale: float = 1.0, shift: float = 0.0) -> Rows:
    """One list of normal numbers for each length."""
    numbers = random.Random(seed)
    return [[numbers.gauss(shift, scale) for _ in range(length)] for length in lengths]


def padded(rows: Rows, fill: float = math.nan, width: int = 0, left: int = 0) -> Tensor:
    """The rows as one (B, T) tensor of fp64, at least `width` wide, `left` columns in; `fill` stands elsewhere."""
    width = max([width, *(left + len(row) for row in rows)])
    return torch.tensor([[fill] * left + row + [fill] * (width - left - len(row)) for row in rows], dtype=torch.float64)


def mask_of(lengths: Sequence[int], width: int = 0, left: int = 0) -> Tensor:
    """True on the entries that `padded` fills from rows of these lengths."""
    return padded([[1.0] * length for length in lengths], 0.0, width, left).bool()


def unpadded(x: Tensor, mask: Tensor) -> Rows:
    """The masked entries of each row as lists; asserts that there is 0 everywhere else."""
    assert bool((x[~mask] == 0).all()), f"not 0 outside the mask: {x}"
    return [row[keep].tolist() for row, keep in zip(x, mask, strict=True)]


def close_rows(actual: Rows, expected: Rows, tolerance: float = 1e-9) -> None:
    """`close` for ragged lists."""
    assert [len(row) for row in actual] == [len(row) for row in expected]
    close([x for row in actual for x in row], [x for row in expected for x in row], tolerance)


def gradient(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Gradient of a scalar function of one tensor, by autograd."""
    x = x.detach().clone().requires_grad_()
    (result,) = torch.autograd.grad(function(x), x)
    return result


def differentiate(function: Callable[[Rows], float], rows: Rows, step: float = 1e-3) -> Rows:
    """Gradient of a plain function of ragged lists, by the five-point rule (error of order step^4)."""

    def at(i: int, j: int, offset: float) -> float:
        moved = [list(row) for row in rows]
        moved[i][j] += offset
        return function(moved)

    return [
        [
            (8 * (at(i, j, step) - at(i, j, -step)) - (at(i, j, 2 * step) - at(i, j, -2 * step))) / (12 * step)
            for j in range(len(row))
        ]
        for i, row in enumerate(rows)
    ]
