"""How a stage reads its data: settings beside every `data` input of rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from tuningfork.settings import Settings

if TYPE_CHECKING:
    from tuningfork.data.reader import Dataset


class ReadingSettings(Settings):
    """What to make of the rows of a data file; nothing needs to be set for data of a known shape."""

    shape: str | None = None
    """what the rows are (`prompt_completion`, `conversation`, `preference` ...); empty means that it is recognised"""
    columns: dict[str, str] = Field(default_factory=dict)
    """field -> the column that holds it, for data with names of its own: `{prompt: frage, completion: antwort}`"""
    strict: bool = False
    """stop at the first faulty row instead of leaving it out"""
    skip_share: float = Field(default=0.01, ge=0, le=1)
    """largest share of faulty rows that may be left out; they are counted, and more stop the run"""

    def open(self, source: str, accept: Sequence[str]) -> Dataset:
        """The rows of `source`, which must be of one of the shapes `accept`."""
        from tuningfork.data.reader import open_data

        return open_data(
            source,
            shape=self.shape,
            columns=self.columns,
            strict=self.strict,
            skip_share=self.skip_share,
            accept=accept,
        )
