"""Where the rows of large line files are: blocks of whole lines with their offsets, found once and kept in a cache folder.

A file that is not plain JSON Lines (gzip, CSV, Parquet ...) is unpacked once into the same folder, since it cannot be
read from the middle. What is kept goes by the file's name, size, time of change and inode: hashing a file takes as long as
finding its blocks.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tuningfork.data.files import open_file
from tuningfork.data.formats import data_files, read_file, suffix_of
from tuningfork.errors import DataError

BLOCK_BYTES = 1 << 18
LONGEST_ROW = 1 << 26
"""Bytes of one row; a longer one is an error, because a few of them would fill the memory."""

_BLANK = re.compile(rb"\n[ \t\r]*(?=\n)")
_PLAIN = (".jsonl", ".ndjson")
_VERSION = 1


@dataclass(frozen=True)
class Blocks:
    """Blocks of the rows of some files, in order; each array has one entry a block.

    `file` numbers `paths`, `offset` and `size` are bytes, `rows` counts lines that are not blank, `line` is the number of
    the first line. `names` are what messages call the files.
    """

    paths: tuple[Path, ...]
    names: tuple[str, ...]
    file: np.ndarray
    offset: np.ndarray
    size: np.ndarray
    rows: np.ndarray
    line: np.ndarray

    @property
    def num_rows(self) -> int:
        """Rows of all files."""
        return int(self.rows.sum())

    def read(self, block: int) -> list[tuple[str, bytes]]:
        """(place, line) of every row of a block."""
        with self.paths[self.file[block]].open("rb") as file:
            file.seek(int(self.offset[block]))
            content = file.read(int(self.size[block]))
        name, first = self.names[self.file[block]], int(self.line[block])
        return [(f"{name}:{first + n}", line) for n, line in enumerate(content.split(b"\n")) if line.strip()]


def find_blocks(
    source: str | Path, cache: Path, block_bytes: int = BLOCK_BYTES, say: Callable[[str], None] = lambda text: None
) -> Blocks:
    """The blocks of a file or of the files of a folder. `cache` keeps them, and unpacked files; `say` tells what that costs.

    DataError where a file cannot be read, has no rows, or a row larger than 64 MB.
    """
    cache.mkdir(parents=True, exist_ok=True)
    names = data_files(Path(source))
    paths = [_plain(name, cache, say) for name in names]
    tables = [_table(path, cache, block_bytes) for path in paths]
    for name, table in zip(names, tables, strict=True):
        if not table[:, 2].sum():
            raise DataError(f"{name}: no rows; expected one JSON object a line")
    joined = np.concatenate(tables)
    number = np.repeat(np.arange(len(tables)), [len(table) for table in tables])
    offset, size, rows, line = joined.T
    return Blocks(tuple(paths), tuple(map(str, names)), number, offset, size, rows, line)


def _table(path: Path, cache: Path, block_bytes: int) -> np.ndarray:
    """(blocks, 4): offset, size, rows, first line; from the cache where it is there."""
    kept = cache / f"blocks-{_identity(path, f'v{_VERSION}', block_bytes)}.npy"
    if kept.is_file():
        return np.load(kept, allow_pickle=False)
    table = _scan(path, block_bytes)
    temporary = kept.with_suffix(f".{os.getpid()}.tmp")
    with temporary.open("wb") as file:
        np.save(file, table, allow_pickle=False)
    os.replace(temporary, kept)
    return table


def _scan(path: Path, block_bytes: int) -> np.ndarray:
    entries, offset, line = [], 0, 1
    with open_file(path) as file:
        while content := file.read(block_bytes):
            if not content.endswith(b"\n"):
                content += file.readline(LONGEST_ROW)
            if len(content) > LONGEST_ROW:
                raise DataError(f"{path}:{line}: a row of more than {LONGEST_ROW >> 20} MB; cut it into several rows")
            ends = content.count(b"\n")
            lines = ends + (not content.endswith(b"\n"))
            blank = len(_BLANK.findall(b"\n" + content)) + (
                not content.rpartition(b"\n")[2].strip() and not content.endswith(b"\n")
            )
            entries.append((offset, len(content), lines - blank, line))
            offset += len(content)
            line += ends
    return np.array(entries, dtype=np.int64).reshape(-1, 4)


def _plain(path: Path, cache: Path, say: Callable[[str], None]) -> Path:
    """The file itself where its rows can be read from the middle, else its unpacked copy in the cache."""
    if path.suffix in _PLAIN:
        return path
    if not path.exists():
        raise DataError(f"{path} does not exist")
    target = cache / f"rows-{_identity(path)}.jsonl"
    if not target.is_file():
        temporary = target.with_suffix(f".{os.getpid()}.tmp")
        try:
            _unpack(path, temporary)
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
        say(f"{path} was unpacked for reading in random order: {target.stat().st_size / 1e6:,.0f} MB in {cache}")
    return target


def _unpack(path: Path, target: Path) -> None:
    """JSON Lines: the same lines. Another format: its rows; a row that cannot be read becomes a line that is a fault too."""
    if suffix_of(path) in _PLAIN:
        with open_file(path) as packed, target.open("wb") as file:
            shutil.copyfileobj(packed, file, 1 << 20)
        return
    with target.open("w", encoding="utf-8") as file:
        for raw in read_file(path):
            file.write((json.dumps(raw.row, ensure_ascii=False) if raw.row is not None else raw.fault) + "\n")


def _identity(path: Path, *more: object) -> str:
    stat = path.stat()
    text = f"{path.resolve()}|{stat.st_size}|{stat.st_mtime_ns}|{stat.st_ino}|{more}"
    return hashlib.sha256(text.encode()).hexdigest()[:24]
