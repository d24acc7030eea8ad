"""Every file of ../shared/data has the shape and the rows of the table beside this file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tuningfork.data.raw import UnknownData
from tuningfork.data.reader import open_data

SHARED = Path(__file__).parents[4] / "shared" / "data"
TABLE: dict[str, dict[str, Any]] = yaml.safe_load((Path(__file__).parent / "shared_shapes.yaml").read_text())
pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/data is not there")


def test_the_table_has_every_file() -> None:
    files = {path.relative_to(SHARED).as_posix() for path in SHARED.rglob("*") if path.is_file()}
    assert files - {"README.md"} == TABLE.keys()


def test_only_lexicons_tokenizers_and_models_are_unknown() -> None:
    unknown = {name.partition("/")[0] for name, entry in TABLE.items() if entry["shape"] == "unknown"}
    assert unknown == {"lexicons", "tokenizers", "models"}


@pytest.mark.parametrize("name", TABLE)
def test_shape_and_rows(name: str) -> None:
    if TABLE[name]["shape"] == "unknown":
        with pytest.raises(UnknownData):
            open_data(SHARED / name)
        return
    data = open_data(SHARED / name, strict=True)
    assert {"shape": data.shape, "rows": sum(1 for _ in data)} == TABLE[name]
