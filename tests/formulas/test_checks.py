"""The comparison itself can fail."""

import math

import pytest
import torch
from checks import close, differentiate, unpadded


def test_close_accepts_no_wide_tolerance() -> None:
    with pytest.raises(AssertionError, match="wide"):
        close(1.0, 1.0, tolerance=1e-3)


@pytest.mark.parametrize(("actual", "expected"), [(1.0, 1.0 + 1e-8), (-1.0, 1.0), (math.nan, math.nan), ([1.0], 1.0)])
def test_close_rejects(actual: object, expected: object) -> None:
    with pytest.raises(AssertionError):
        close(actual, expected)


def test_unpadded_rejects_what_stands_in_the_padding() -> None:
    with pytest.raises(AssertionError, match="outside"):
        unpadded(torch.ones(1, 2), torch.tensor([[True, False]]))


def test_differentiate_a_cubic() -> None:
    # d/dx (x^3 + 2 x y) = 3 x^2 + 2 y = 12 - 2 = 10 and d/dy = 2 x = 4 at (2, -1)
    close(differentiate(lambda rows: rows[0][0] ** 3 + 2 * rows[0][0] * rows[0][1], [[2.0, -1.0]])[0], [10.0, 4.0])
