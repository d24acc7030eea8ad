"""JSON Lines: every fault is named with file and line."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from tuningfork.data.jsonl import read_jsonl, write_jsonl
from tuningfork.errors import DataError


def test_rows_plain_and_compressed_with_blank_lines_and_byte_order_mark(tmp_path: Path) -> None:
    content = '\ufeff{"a": 1}\n\n{"a": "ü\u2028b"}\r\n'.encode()
    (tmp_path / "a.jsonl").write_bytes(content)
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(content))
    expected = [{"a": 1}, {"a": "ü\u2028b"}]
    assert read_jsonl(tmp_path / "a.jsonl") == read_jsonl(str(tmp_path / "a.jsonl.gz")) == expected


def test_written_rows_are_read_back(tmp_path: Path) -> None:
    rows = [{"text": "line\nend \u2028 ✓"}, {"n": None}]
    assert write_jsonl(tmp_path / "b.jsonl", rows) == 2
    assert read_jsonl(tmp_path / "b.jsonl") == rows


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", ": no rows; expected one JSON object a line"),
        (b"\n \n", ": no rows"),
        (b'{"a": 1}\n{"a": \xff}\n', ":2: not UTF-8 (byte 7 of the line is 0xff)"),
        (b'{"a": 1}\n\n{"a": 1,}\n', ":3: not JSON: "),
        (b'{"a": 1}\nhello\n', ":2: not JSON: Expecting value at column 1"),
        (b"[1]\n", ":1: expected an object, got list"),
        (b'{"a": 1}\n{"b": 1}\n', ":2: no a; the row has b"),
        (b'{"a": null}\n', ":1: no a; the row has a"),
        (b"{}\n", ":1: no a; the row has nothing"),
        (b"[" * 100_000, ":1: nested too deeply"),
    ],
)
def test_faults_have_file_and_line(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_jsonl(path, required=("a",))
    assert str(caught.value).startswith(f"{path}{message}")


def test_missing_file_folder_and_cut_archive(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none.jsonl does not exist"):
        read_jsonl(tmp_path / "none.jsonl")
    with pytest.raises(DataError, match="is a folder"):
        read_jsonl(tmp_path)
    (tmp_path / "cut.jsonl.gz").write_bytes(gzip.compress(b'{"a": 1}\n' * 1000)[:-20])
    with pytest.raises(DataError, match="not a whole gzip file"):
        read_jsonl(tmp_path / "cut.jsonl.gz")
    (tmp_path / "no.jsonl.gz").write_bytes(b'{"a": 1}\n')
    with pytest.raises(DataError, match="not a whole gzip file"):
        read_jsonl(tmp_path / "no.jsonl.gz")


def test_rows_of_a_world_are_read_as_those_of_a_file() -> None:
    rows = read_jsonl("world:colours/prompts_monitor", required=("id", "prompt", "root"))
    assert len(rows) == 324 and rows[0]["group"] == "held_out"
    with pytest.raises(DataError, match=r"world:colours/sft.jsonl:1: no answer; the row has prompt, completion"):
        read_jsonl("world:colours/sft", required=("answer",))
