"""Parquet, a batch of rows at a time; needs the optional extra `parquet`."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

from tuningfork.data.files import open_file
from tuningfork.data.raw import Raw, numbered
from tuningfork.errors import DataError

SUFFIXES = (".parquet",)
EXPECTED = "a table with at least one row"

_BATCH_ROWS = 512


def read(path: Path) -> Iterator[Raw]:
    """Rows with FILE, row N."""
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ModuleNotFoundError as error:
        raise DataError(
            f"{path}: Parquet needs pyarrow; install it with `pip install 'tuningfork[parquet]'`"
        ) from error
    try:
        file = ParquetFile(_unpacked(path) if path.suffix == ".gz" else path)
        yield from numbered(str(path), _rows(file))
    except (ArrowException, OSError) as error:
        raise DataError(
            f"{path}: not a whole Parquet file ({str(error).splitlines()[0]}); write or fetch it again"
        ) from error


def _unpacked(path: Path) -> BytesIO:
    """A Parquet file is read from its end, so one inside gzip is unpacked into memory."""
    with open_file(path) as file:
        return BytesIO(file.read())


def _rows(file: Any) -> Iterator[Any]:
    for batch in file.iter_batches(batch_size=_BATCH_ROWS):
        yield from batch.to_pylist()
