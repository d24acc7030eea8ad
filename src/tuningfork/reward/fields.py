"""What a reward reads from an item's metadata: columns of the row that its prompt came from."""

from __future__ import annotations

from typing import Any

from tuningfork.errors import DataError
from tuningfork.reward.base import Item


def column(item: Item, name: str) -> Any:
    """The value of a column; DataError where the row has none."""
    value = item.metadata.get(name)
    if value is None:
        known = ", ".join(map(str, item.metadata)) or "none"
        raise DataError(f"the prompt {item.prompt[:60]!r} has no column {name!r} (it has {known})")
    return value


def texts(item: Item, name: str) -> list[str]:
    """The texts of a column that holds one text or a list of them; DataError where it holds something else."""
    value = column(item, name)
    found = [value] if isinstance(value, str) else value
    if not isinstance(found, list) or not found or not all(isinstance(text, str) for text in found):
        raise DataError(f"the column {name!r} of the prompt {item.prompt[:60]!r} is neither a text nor a list of texts")
    return found
