"""Hand-made files of the forms in which people keep data: recognised, parsed and converted, plain and compressed."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tuningfork.data.reader import open_data
from tuningfork.data.shapes import shape_module, shapes
from tuningfork.data.sources import raw_rows

FOLDER = Path(__file__).parent / "variants"
EXPECTED: dict[str, dict[str, Any]] = yaml.safe_load((FOLDER / "expected.yaml").read_text(encoding="utf-8"))


def test_every_file_and_every_shape_is_expected() -> None:
    assert {path.name for path in FOLDER.iterdir()} - {"expected.yaml"} == EXPECTED.keys()
    assert {entry["shape"] for entry in EXPECTED.values()} == set(shapes())
    assert len(EXPECTED) >= 40


@pytest.mark.parametrize("name", EXPECTED)
def test_rows_are_what_was_written_by_hand(name: str, tmp_path: Path) -> None:
    data = open_data(FOLDER / name, strict=True)
    assert data.shape == EXPECTED[name]["shape"]
    assert list(data) == EXPECTED[name]["rows"]
    packed = tmp_path / f"{name}.gz"
    packed.write_bytes(gzip.compress((FOLDER / name).read_bytes()))
    assert list(open_data(packed, strict=True)) == EXPECTED[name]["rows"]


@pytest.mark.parametrize("name", EXPECTED)
def test_the_canonical_form_is_its_own_canonical_form(name: str, tmp_path: Path) -> None:
    """Converting twice changes nothing, with the shape recognised again."""
    path = tmp_path / "canonical.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in EXPECTED[name]["rows"]), encoding="utf-8")
    again = open_data(path, strict=True)
    assert again.shape == EXPECTED[name]["shape"]
    assert list(again) == EXPECTED[name]["rows"]


@pytest.mark.parametrize("name", EXPECTED)
def test_every_word_of_the_source_is_in_the_canonical_rows(name: str) -> None:
    source = words([raw.row for raw in raw_rows(FOLDER / name)])
    assert source - {"im_start", "im_end", "text", "assistant"} <= words(EXPECTED[name]["rows"])


@pytest.mark.parametrize("name", EXPECTED)
def test_parts_show_the_texts_of_a_row(name: str) -> None:
    module = shape_module(EXPECTED[name]["shape"])
    for row in EXPECTED[name]["rows"]:
        found = module.parts(row)
        assert found and all(isinstance(part.text, str) for part in found)
        learns = EXPECTED[name]["shape"] != "prompts" and row.get("label") is not False
        assert any(part.kind == "target" for part in found) is learns


def words(value: Any) -> set[str]:
    """All words of all texts in plain data."""
    return {word for text in leaves(value) for word in re.findall(r"\w+", text)}


def leaves(value: Any) -> list[str]:
    """All texts in plain data."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for inner in value.values() for text in leaves(inner)]
    return [text for inner in value for text in leaves(inner)] if isinstance(value, list) else []
