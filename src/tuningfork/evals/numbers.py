"""Numbers for people: three digits, a true minus sign, units that fit."""

from __future__ import annotations

import math

MINUS, MISSING = "\u2212", "–"


def figure(value: float | int | None) -> str:
    """A number with three digits that matter; no scientific notation between 1e-4 and 1e7."""
    if value is None:
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    size = abs(value)
    if math.isnan(size):
        return "not a number"
    if isinstance(value, int):
        text = f"{value:,}".replace(",", "\u202f")
    elif math.isinf(size):
        text = "∞" if value > 0 else "-∞"
    elif size == 0:
        text = "0"
    elif size < 1e-4 or size >= 1e7:
        text = f"{value:.1e}"
    elif size >= 999.5:
        text = f"{value:,.0f}".replace(",", "\u202f")
    elif size >= 0.00995:
        text = f"{value:.{3 if size < 0.9995 else 2 if size < 9.995 else 1 if size < 99.95 else 0}f}"
    else:
        text = f"{value:.2g}"
    return text.replace("-", MINUS)


def signed(value: float | None) -> str:
    """A number with its sign, for changes."""
    text = figure(value)
    return "+" + text if value is not None and value > 0 else text


def p_value(p: float | None) -> str:
    """A p-value as papers print it."""
    if p is None:
        return MISSING
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def duration(seconds: float | None) -> str:
    """Seconds as people say them."""
    if seconds is None:
        return MISSING
    if seconds < 59.5:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def memory(megabytes: float | None) -> str:
    """Megabytes as MB or GB."""
    if megabytes is None:
        return MISSING
    return f"{megabytes / 1024:.1f} GB" if megabytes >= 1024 else f"{megabytes:.0f} MB"
