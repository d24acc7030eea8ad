"""Where data comes from: files and folders, `world:` files of the embedded worlds, `hf:` data sets of the hub."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tuningfork.data.formats import data_files, read_file
from tuningfork.data.raw import Raw, numbered
from tuningfork.errors import DataError

WORLD, HUB = "world:", "hf:"


def raw_rows(source: str | Path) -> Iterator[Raw]:
    """Rows of a source, lazily, with their places. DataError where it is not there or cannot be read.

    `world:NAME/FILE` is a file of an embedded world of seed 0 (`world:colours/sft`). `hf:NAME`, `hf:NAME:SPLIT` or
    `hf:NAME:CONFIGURATION:SPLIT` is a data set of the hub, or a folder the `datasets` library can read; the split is
    `train` where none is given.
    """
    text = str(source)
    if text.startswith(WORLD):
        yield from _world_rows(text.removeprefix(WORLD))
    elif text.startswith(HUB):
        yield from _hub_rows(text.removeprefix(HUB))
    else:
        for file in data_files(Path(source)):
            yield from read_file(file)


def _world_rows(name: str) -> Iterator[Raw]:
    from tuningfork.worlds import load_world

    world, _, file = name.partition("/")
    with tempfile.TemporaryDirectory() as folder:
        load_world(world).build(0, Path(folder))
        made = sorted(path.name for path in Path(folder).glob("*.jsonl"))
        wanted = file if file.endswith(".jsonl") else f"{file}.jsonl"
        if wanted not in made:
            raise DataError(f"world:{name}: the world {world} has no file {wanted}; it has {', '.join(made)}")
        for raw in read_file(Path(folder) / wanted):
            yield raw._replace(place=f"{WORLD}{world}/{wanted}:{raw.place.rpartition(':')[2]}")


def _hub_rows(name: str) -> Iterator[Raw]:
    try:
        import datasets  # type: ignore[import-not-found]
    except ModuleNotFoundError as error:
        raise DataError(f"{HUB}{name}: data sets of the hub need `pip install 'tuningfork[datasets]'`") from error
    path, *rest = name.split(":")
    configuration, split = (rest[0], rest[1]) if len(rest) == 2 else (None, rest[0] if rest else "train")
    if len(rest) > 2 or not path:
        raise DataError(f"{HUB}{name}: expected hf:NAME, hf:NAME:SPLIT or hf:NAME:CONFIGURATION:SPLIT")
    try:
        found: Any = datasets.load_dataset(path, configuration, split=split)
    except (ValueError, OSError) as error:
        raise DataError(f"{HUB}{name}: {str(error).splitlines()[0]}") from error
    yield from numbered(f"{HUB}{name}", iter(found))
