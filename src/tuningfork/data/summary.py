"""Lengths in one line."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tuningfork.data.findings import Lengths


def lengths_of(side: str, unit: str, values: Sequence[int]) -> Lengths:
    """Median, 95th percentile and maximum; zeros where there are no values."""
    if not values:
        return Lengths(side, unit, 0.0, 0.0, 0)
    median, p95 = np.percentile(values, [50, 95])
    return Lengths(side, unit, float(median), float(p95), max(values))
