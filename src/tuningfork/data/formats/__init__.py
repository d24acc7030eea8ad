"""Containers of rows, found by file name: each module here reads one, plain or .gz. There is no table to edit.

A format has SUFFIXES and `read(path) -> Iterator[Raw]`, which yields a row at a time with its place. What is wrong with
one row is a `Raw` with a fault; what is wrong with the file is a DataError.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from tuningfork.data.raw import Raw, UnknownData
from tuningfork.errors import DataError


@functools.cache
def formats() -> dict[str, ModuleType]:
    """Module of each file suffix, e.g. `.csv`."""
    modules = (importlib.import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__))
    return {suffix: module for module in modules for suffix in module.SUFFIXES}


def suffix_of(path: Path) -> str:
    """What decides the format of a file: its suffix in lower case, without a .gz behind it."""
    suffixes = path.suffixes
    if suffixes[-1:] == [".gz"]:
        suffixes.pop()
    return suffixes[-1].lower() if suffixes else ""


def data_files(path: Path) -> list[Path]:
    """The file itself, or all files of a known format below a folder, in the order of their names; hidden ones apart."""
    if not path.is_dir():
        return [path]
    found = [file for file in sorted(path.rglob("*")) if file.is_file() and not _is_hidden(file.relative_to(path))]
    known = [file for file in found if suffix_of(file) in formats()]
    if not known:
        names = ", ".join(file.name for file in found[:3]) or "nothing"
        raise DataError(f"{path}: the folder holds no data file ({names}); a data file ends with {endings()}")
    return known


def read_file(path: Path) -> Iterator[Raw]:
    """Rows of one file, lazily. DataError where its format is not known, it cannot be read or has no rows."""
    if not path.exists():
        raise DataError(f"{path} does not exist")
    module = formats().get(suffix_of(path))
    if module is None:
        raise UnknownData(
            f"{path}: {path.suffix or 'a name without an ending'} is no known format; a data file ends with {endings()}"
        )
    found = False
    for raw in module.read(path):
        found = True
        yield raw
    if not found:
        raise DataError(f"{path}: no rows; expected {module.EXPECTED}")


def endings() -> str:
    """All known suffixes, for messages."""
    return ", ".join(sorted(formats())) + ", or one of these with .gz"


def _is_hidden(path: Path) -> bool:
    return any(part.startswith((".", "__")) for part in path.parts)
