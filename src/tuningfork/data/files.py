"""Opening data files, plain or gzip. What cannot be read is named with the file and what to do."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from tuningfork.errors import DataError

_SIGNATURES = (
    (b"\x1f\x8b", "gzip-compressed; add .gz to its name"),
    (b"PK\x03\x04", "a zip archive (Excel and Word files are some); unpack it, or export a table as CSV"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd, which is not read; unpack it or compress it with gzip"),
    (b"BZh", "compressed with bzip2, which is not read; unpack it or compress it with gzip"),
    (b"\xfd7zXZ", "compressed with xz, which is not read; unpack it or compress it with gzip"),
    (b"version https://git-lfs", "a Git LFS pointer, not the data; fetch the data with `git lfs pull`"),
    (b"\xff\xfe", "UTF-16; save it as UTF-8"),
    (b"\xfe\xff", "UTF-16; save it as UTF-8"),
    (b"PAR1", "a Parquet file; name it .parquet"),
    (b"SQLite format 3", "an SQLite database; export the table as CSV or JSONL"),
    (b"\x80\x04\x95", "a Python pickle, which may run code and is never read; export it as JSONL"),
    (b"\x80\x05\x95", "a Python pickle, which may run code and is never read; export it as JSONL"),
)
_WEB_PAGE = (b"<!doctype html", b"<html")
_HEAD = 512


@contextmanager
def open_file(path: Path) -> Iterator[BinaryIO]:
    """The bytes of a file, unpacked where its name ends with .gz. DataError for what is missing, cut or another thing."""
    try:
        with cast(BinaryIO, gzip.open(path)) if path.suffix == ".gz" else path.open("rb") as file:
            yield file
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist") from error
    except IsADirectoryError as error:
        raise DataError(f"{path} is a folder; expected a file") from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path}: not a whole gzip file ({error}); fetch it again") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error


def check_signature(path: Path, head: bytes) -> None:
    """DataError where the first bytes of a text file show that it is something else."""
    for signature, what in _SIGNATURES:
        if head.startswith(signature):
            raise DataError(f"{path}: the file is {what}")
    if head.lstrip().lower().startswith(_WEB_PAGE):
        raise DataError(
            f"{path}: the file is a web page, not data (a download that needs a login?); fetch the raw file"
        )
    if b"\0" in head:
        raise DataError(f"{path}: the file is binary (a zero byte at {head.index(0)}); expected UTF-8 text")


def lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """(line number from 1, bytes with the line end) of a text file, blank lines too."""
    with open_file(path) as file:
        first = file.readline()
        check_signature(path, first[:_HEAD])
        number = 1
        if first:
            yield number, first
        for number, line in enumerate(file, start=2):
            yield number, line


def whole_text(path: Path) -> str:
    """All text of a file, without a byte order mark; DataError as FILE:LINE where it is not UTF-8."""
    with open_file(path) as file:
        content = file.read()
    check_signature(path, content[:_HEAD])
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}:{line}: {not_utf8(content, error)}") from error


def text_lines(path: Path) -> Iterator[str]:
    """Lines of a text file with their ends; DataError as FILE:LINE where one is not UTF-8."""
    for number, line in lines(path):
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise DataError(f"{path}:{number}: {not_utf8(line, error)}") from error


def not_utf8(content: bytes, error: UnicodeDecodeError) -> str:
    """What is wrong with bytes that are not UTF-8: which byte of its line."""
    start = content.rfind(b"\n", 0, error.start) + 1
    return f"not UTF-8 (byte {error.start - start + 1} of the line is 0x{content[error.start]:02x}); save the file as UTF-8"
