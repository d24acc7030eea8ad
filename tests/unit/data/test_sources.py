"""Files of embedded worlds, data sets of the hub through their library, Parquet, and the round trip of converting."""

from __future__ import annotations

import csv
import gzip
import json
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuningfork.data.formats import data_files, formats
from tuningfork.data.reader import open_data
from tuningfork.errors import DataError

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
PLAIN = TEXT.filter(lambda text: not text.lstrip().startswith(("<|im_start|>", "Human:")))


def test_a_world_is_read_by_its_name() -> None:
    data = open_data("world:colours/sft")
    place, row = next(data.placed())
    assert data.shape == "prompt_completion" and place == "world:colours/sft.jsonl:1"
    assert {"prompt", "completion", "extra"} == row.keys()
    with pytest.raises(DataError, match=r"the world colours has no file nothing.jsonl; it has contrasts.jsonl"):
        open_data("world:colours/nothing")


def test_the_hub_is_read_through_its_library(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[Any, ...]] = []

    def load_dataset(path: str, configuration: str | None, *, split: str) -> list[dict[str, str]]:
        calls.append((path, configuration, split))
        if path == "org/missing":
            raise ValueError("it doesn't exist\nand more")
        return [{"question": "q", "answer": "a"}]

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    data = open_data("hf:org/name:main:test")
    assert list(data.placed()) == [("hf:org/name:main:test, row 1", {"prompt": "q", "completion": "a"})]
    open_data("hf:org/name")
    open_data("hf:org/name:validation")
    assert calls[-1] == ("org/name", None, "validation") and calls[-2] == ("org/name", None, "train")
    assert calls[0] == ("org/name", "main", "test")
    with pytest.raises(DataError, match=r"hf:org/missing: it doesn't exist$"):
        open_data("hf:org/missing")
    with pytest.raises(DataError, match=r"expected hf:NAME"):
        open_data("hf:a:b:c:d")


@pytest.mark.parametrize(("module", "source"), [("datasets", "hf:org/name"), ("pyarrow", "rows.parquet")])
def test_what_is_missing_is_named_with_its_cure(
    module: str, source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    (tmp_path / "rows.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"pip install 'tuningfork\[(datasets|parquet)\]'"):
        open_data(source if source.startswith("hf:") else tmp_path / source)


def test_parquet(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="the optional extra `parquet` is not installed")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "rows.parquet"
    rows = [
        {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": str(n)}], "id": n}
        for n in range(1200)
    ]
    parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    found = list(open_data(path, strict=True).placed())
    assert len(found) == 1200
    assert found[700] == (f"{path}, row 701", {"messages": rows[700]["messages"], "extra": {"id": 700}})


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", b'{"text": "a b"}\n'),
        ("a.ndjson", b'{"text": "a b"}\n'),
        ("a.json", b'[{"text": "a b"}]'),
        ("a.csv", b"text,n\na b,1\n"),
        ("a.tsv", b"text\tn\na b\t1\n"),
        ("a.txt", b"a b"),
        ("a.text", b"a b"),
        ("a.parquet", b""),
    ],
)
def test_every_format_is_read_inside_gzip(name: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / name
    if name == "a.parquet":
        pyarrow = pytest.importorskip("pyarrow", reason="the optional extra `parquet` is not installed")
        pytest.importorskip("pyarrow.parquet").write_table(pyarrow.Table.from_pylist([{"text": "a b"}]), path)
        content = path.read_bytes()
    path.write_bytes(content)
    packed = tmp_path / f"{name}.gz"
    packed.write_bytes(gzip.compress(content))
    assert list(open_data(packed, strict=True)) == list(open_data(path, strict=True))
    assert [row["text"] for row in open_data(packed)] == ["a b"]
    packed.write_bytes(gzip.compress(content)[:-6])
    with pytest.raises(DataError, match="not a whole gzip file"):
        list(open_data(packed))


def test_every_format_has_its_suffixes(tmp_path: Path) -> None:
    assert {".jsonl", ".json", ".csv", ".tsv", ".parquet", ".txt"} <= formats().keys()
    (tmp_path / "A.JSONL").write_text('{"text": "a"}\n')
    assert list(open_data(data_files(tmp_path)[0])) == [{"text": "a"}]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.fixed_dictionaries({"prompt": PLAIN, "completion": TEXT, "tag_1": TEXT}), min_size=1, max_size=5))
def test_csv_and_jsonl_say_the_same(rows: list[dict[str, str]]) -> None:
    """Any text survives CSV (whose rows end with CR LF) and JSON Lines, line ends and quotes included."""
    with tempfile.TemporaryDirectory() as folder:
        table, lines = Path(folder) / "a.csv", Path(folder) / "a.jsonl"
        with table.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["prompt", "completion", "tag_1"], quoting=csv.QUOTE_ALL)
            writer.writeheader()
            writer.writerows(rows)
        lines.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        expected = [
            {"prompt": r["prompt"], "completion": r["completion"], "extra": {"tag_1": r["tag_1"]}} for r in rows
        ]
        assert list(open_data(lines, strict=True)) == expected
        assert list(open_data(table, strict=True)) == expected


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.dictionaries(TEXT.map(lambda name: f"x_{name}"), VALUES, max_size=3).flatmap(
            lambda more: st.fixed_dictionaries({"instruction": PLAIN, "input": TEXT, "output": TEXT}).map(
                lambda row: row | more
            )
        ),
        min_size=1,
        max_size=4,
    )
)
def test_converting_loses_nothing(rows: list[dict[str, Any]]) -> None:
    """Every field is a canonical one or in `extra`, and converting what was converted changes nothing."""
    with tempfile.TemporaryDirectory() as folder:
        path, again = Path(folder) / "a.jsonl", Path(folder) / "b.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        found = list(open_data(path, strict=True))
        for row, canonical in zip(rows, found, strict=True):
            kept = {"instruction": canonical["prompt"], "input": "", "output": canonical["completion"]} | canonical.get(
                "extra", {}
            )
            if not row["input"].strip():
                kept["input"] = row["input"]
            assert kept == row
        again.write_text("".join(json.dumps(row) + "\n" for row in found), encoding="utf-8")
        assert list(open_data(again, strict=True)) == found
