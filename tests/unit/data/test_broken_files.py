"""Broken files: each is named with its place, what is wrong, and what to do; strict stops, the default counts."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from tuningfork.data.reader import open_data
from tuningfork.errors import DataError

GOOD = '{"prompt": "a", "completion": "b"}\n'
CHAT = '{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n'
RANKING = '{"prompt": "p", "responses": ["a", "b"], "ranks": [1, 2]}\n'
CHOICE = '{"question": "q", "options": ["a", "b"], "answer": 0}\n'
COMPARED = '{"prompt": "p", "responses": ["a", "b"], "comparisons": [{"a": 0, "b": 1, "preferred": "a"}]}\n'
TREE = '{"prompt": {"role": "prompter", "text": "q", "replies": []}}\n'
TABLE = '{"message_id": "1", "parent_id": null, "role": "prompter", "text": "q"}\n'
PAIR = '{"chosen": "\\n\\nHuman: a\\n\\nAssistant: b", "rejected": "\\n\\nHuman: a\\n\\nAssistant: c"}\n'
CHATML = '{"text": "<|im_start|>user\\na<|im_end|>\\n<|im_start|>assistant\\nb<|im_end|>"}\n'

BROKEN = {
    # the file
    "empty": ("a.jsonl", b"", "", "no rows; expected one JSON object a line"),
    "only blank lines": ("a.jsonl", b"\n \n\n", "", "no rows; expected one JSON object a line"),
    "no format": ("a.xlsx", b"PK\x03\x04", "", ".xlsx is no known format; a data file ends with .csv"),
    "no ending": ("rows", b"{}", "", "a name without an ending is no known format"),
    "a zip archive": ("a.csv", b"PK\x03\x04\x14\x00", "", "a zip archive (Excel and Word files are some); unpack it"),
    "gzip without .gz": ("a.jsonl", gzip.compress(GOOD.encode()), "", "gzip-compressed; add .gz to its name"),
    "no gzip with .gz": ("a.jsonl.gz", GOOD, "", "not a whole gzip file"),
    "gzip cut off": ("a.jsonl.gz", gzip.compress(GOOD.encode() * 500)[:-12], "", "not a whole gzip file"),
    "a web page": ("a.json", b"<!DOCTYPE html><html>", "", "a web page, not data (a download that needs a login?)"),
    "a Git LFS pointer": ("a.jsonl", b"version https://git-lfs.github.com/spec/v1\n", "", "git lfs pull"),
    "a pickle": ("a.jsonl", b"\x80\x04\x95\x10\x00", "", "a Python pickle, which may run code and is never read"),
    "UTF-16": ("a.csv", "prompt,completion\n".encode("utf-16"), "", "UTF-16; save it as UTF-8"),
    "binary": ("a.jsonl", b'{"a"\x00: 1}\n', "", "binary (a zero byte at 4); expected UTF-8 text"),
    "SQLite": ("a.jsonl", b"SQLite format 3\x00", "", "an SQLite database; export the table"),
    "no Parquet": ("a.parquet", b"prompt,completion\n", "", "not a whole Parquet file"),
    "JSON Lines as .json": ("a.json", GOOD * 2, ":2", "the file is JSON Lines: name it .jsonl"),
    "JSON cut off": ("a.json", '[\n{"prompt": "a", "completion": "b"},\n{"prompt": "c"', ":3", "not JSON"),
    "JSON that is not UTF-8": (
        "a.json",
        b'[\n{"prompt": "\xe4"}]',
        ":2",
        "not UTF-8 (byte 13 of the line is 0xe4); save",
    ),
    "a word list": ("a.txt", "word\n" * 30, "", "one word or table cell a line, which is a list and no running text"),
    "unknown fields": ("a.jsonl", '{"foo": 1}\n', "", "no known shape has rows with foo; map columns"),
    "two shapes at once": ("a.jsonl", CHAT[:-2] + ', "prompt": "a", "completion": "b"}', "", "say which with shape="),
    # CSV
    "CSV column without a name": ("a.csv", "prompt,\na,b\n", ":1", "column 2 has no name"),
    "CSV column twice": ("a.csv", "prompt,prompt\na,b\n", ":1", "the column name prompt occurs twice; rename one"),
    "CSV quote not closed": ("a.csv", 'prompt,completion\na,"b\nc,d\n', ":2", "a quoted text ends with a quote"),
    "CSV not UTF-8": ("a.csv", b"prompt,completion\na,b\n\xff,d\n", ":3", "not UTF-8 (byte 1 of the line is 0xff)"),
    "CSV with a cell too many": ("a.csv", "prompt,completion\na,b,c\n", ":2", "3 cells, the header names 2"),
    "CSV with a cell missing": ("a.csv", "prompt,completion\na\n", ":2", "a cell is missing"),
    # a row
    "not UTF-8": ("a.jsonl", GOOD.encode() + b'{"prompt": "\xff"}\n', ":2", "not UTF-8 (byte 13 of the line is 0xff)"),
    "trailing comma": ("a.jsonl", GOOD + '{"prompt": "a",}\n', ":2", "remove the comma before the closing bracket"),
    "single quotes": ("a.jsonl", GOOD + "{'prompt': 'a'}\n", ":2", "single quotes, as Python prints them"),
    "a row over several lines": (
        "a.jsonl",
        '{\n  "prompt": "a"\n}\n',
        ":1",
        "put each object on one line, or name the file .json",
    ),
    "two rows in a line": ("a.jsonl", GOOD + GOOD.strip() * 2, ":2", "put each object on a line of its own"),
    "the last line cut": ("a.jsonl", GOOD + GOOD[:25], ":2", "the line ends in the middle of a row"),
    "NaN": ("a.jsonl", GOOD + '{"prompt": NaN}\n', ":2", "NaN is no JSON number; write null or a number"),
    "half a character": ("a.jsonl", GOOD + '{"prompt": "\\ud83d"}\n', ":2", "holds half a character (a lone surrogate"),
    "too deep": ("a.jsonl", GOOD + "[" * 100_000 + "\n", ":2", "nested too deeply"),
    "a number": ("a.jsonl", GOOD + "17\n", ":2", "expected an object, got int"),
    "a field is missing": (
        "a.jsonl",
        GOOD + '{"prompt": "a"}\n',
        ":2",
        "no completion (prompt and completion); the row has prompt",
    ),
    "a field is null": ("a.jsonl", GOOD + '{"prompt": "a", "completion": null}\n', ":2", "no completion"),
    "a field of another kind": (
        "a.jsonl",
        GOOD + '{"prompt": "a", "completion": 5}\n',
        ":2",
        "completion is a number that cannot be its completion",
    ),
    "an unknown role": (
        "a.jsonl",
        CHAT * 2 + CHAT.replace('"user"', '"narrator"'),
        ":3",
        "message 1 has the role 'narrator'; known roles are system",
    ),
    "a message without content": (
        "a.jsonl",
        CHAT * 2 + CHAT.replace('"content": "a"', '"c": "a"'),
        ":3",
        "message 1 has no content; it has role, c",
    ),
    "content is no text": (
        "a.jsonl",
        CHAT * 2 + CHAT.replace('"a"', "7"),
        ":3",
        "message 1: content is a number; it must be text",
    ),
    "an image": (
        "a.jsonl",
        CHAT * 2 + CHAT.replace('"a"', '[{"type": "image_url"}]'),
        ":3",
        "a part of type image_url; only text is trained on",
    ),
    "ChatML cut off": ("a.jsonl", CHATML + CHATML.replace("b<|im_end|>", "b"), ":2", "<|im_end|>"),
    "ChatML with text between turns": (
        "a.jsonl",
        CHATML + CHATML.replace("\\n<|im_start|>a", " stray <|im_start|>a"),
        ":2",
        "text between two turns",
    ),
    "no common prompt": ("a.jsonl", PAIR + PAIR.replace("Human: a", "Human: x", 1), ":2", "have no common prompt"),
    "negative strength": (
        "a.jsonl",
        '{"prompt": "a", "chosen": "b", "rejected": "c", "margin": -1}\n',
        ":1",
        "swap the two or drop the row",
    ),
    "a rank is missing": (
        "a.jsonl",
        RANKING + RANKING.replace("[1, 2]", "[1]"),
        ":2",
        "2 answers and 1 ranks or scores",
    ),
    "nobody preferred": (
        "a.jsonl",
        '{"prompt": "p", "output_1": "a", "output_2": "b", "preferred": "x"}\n',
        ":1",
        "'x' does not say which answer is better; write 1, 2 or tie",
    ),
    "a comparison of nothing": (
        "a.jsonl",
        COMPARED + COMPARED.replace('"b": 1', '"b": 2'),
        ":2",
        "a and b are numbers from 0 to 1",
    ),
    "an answer beyond the options": (
        "a.jsonl",
        CHOICE + CHOICE.replace("0}", "2}"),
        ":2",
        "the answer 2 is none of the 2 options",
    ),
    "a tree without text": (
        "a.jsonl",
        TREE + TREE.replace('"text": "q"', '"txt": "q"'),
        ":2",
        "needs the role prompter or assistant and a text",
    ),
    "a parent that is missing": (
        "a.jsonl",
        TABLE + TABLE.replace('"1"', '"2"').replace("null", '"9"'),
        ":2",
        "the parent 9 is not in the file",
    ),
    "instances without output": (
        "a.jsonl",
        '{"instruction": "i", "instances": [{"input": "x"}]}\n',
        ":1",
        "instance 1 has no output",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_file_is_named_with_place_cause_and_cure(kind: str, tmp_path: Path) -> None:
    name, content, line, message = BROKEN[kind]
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    for strict in (True, False):
        with pytest.raises(DataError) as caught:
            list(open_data(path, strict=strict))
        text = str(caught.value)
        assert text.startswith(f"{path}{line}: ") and message in text and len(text.splitlines()) == 1


def test_there_are_enough_kinds() -> None:
    assert len(BROKEN) >= 25


def test_faulty_rows_are_counted_up_to_the_share(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(GOOD * 150 + "oops\n" + GOOD * 48 + '{"prompt": "a"}\n')
    data = open_data(path)
    assert len(list(data)) == 198
    assert data.skipped.count == 2 and data.skipped.of == 200 and sum(data.skipped.reasons.values()) == 2
    assert str(data.skipped).startswith(f"2 of 200 rows left out as faulty (1.00%); first: {path}:151: not JSON")
    assert len(list(data)) == 198 and data.skipped.count == 2, "a second pass counts anew"
    with pytest.raises(DataError, match=r"a.jsonl:151: not JSON.*2 of 200 rows are faulty, more than the 0.50%"):
        list(open_data(path, skip_share=0.005))
    with pytest.raises(DataError, match=r"a.jsonl:151: not JSON: [^(]*$"):
        list(open_data(path, strict=True))


def test_missing_files_and_empty_folders(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none.jsonl does not exist"):
        open_data(tmp_path / "none.jsonl")
    (tmp_path / "image.png").write_bytes(b"x")
    with pytest.raises(DataError, match=r"holds no data file \(image.png\); a data file ends with"):
        open_data(tmp_path)


def test_a_folder_is_read_in_the_order_of_names(tmp_path: Path) -> None:
    (tmp_path / "part").mkdir()
    (tmp_path / "part" / "b.csv").write_text("prompt,completion\n3,c\n")
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(GOOD.encode() * 2))
    (tmp_path / ".hidden.jsonl").write_text("nonsense")
    rows = list(open_data(tmp_path, strict=True).placed())
    assert [row["completion"] for _, row in rows] == ["b", "b", "c"]
    assert [Path(place).name for place, _ in rows] == ["a.jsonl.gz:1", "a.jsonl.gz:2", "b.csv:2"]


def test_columns_are_mapped_and_what_they_cover_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"frage": "a", "antwort": "b", "prompt": "c", "n": 1}) + "\n")
    data = open_data(path, columns={"prompt": "frage", "completion": "antwort"})
    assert list(data) == [{"prompt": "a", "completion": "b", "extra": {"prompt": "c", "n": 1}}]
    with pytest.raises(DataError, match=r"there is no column 'frge'; the columns are frage, antwort, prompt, n"):
        open_data(path, columns={"prompt": "frge"})
    with pytest.raises(DataError, match=r"columns: 'promt' is no field of any shape; did you mean prompt\?"):
        open_data(path, columns={"promt": "frage"})


def test_shapes_that_fit_equally_are_settled_by_the_reader_of_the_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(CHAT[:-2] + ', "prompt": "a", "chosen": "b", "rejected": "c"}\n')
    with pytest.raises(DataError, match=r"fit conversation \(messages\) and preference \(chosen, prompt, rejected\)"):
        open_data(path)
    assert open_data(path, accept=("preference", "ranking")).shape == "preference"
    assert open_data(path, shape="conversation").shape == "conversation"
    with pytest.raises(DataError, match=r"there is no shape 'convers'; did you mean"):
        open_data(path, shape="convers")
    with pytest.raises(
        DataError,
        match=r"a prompt and the answer to learn \(shape prompt_completion\); here it must be text or labelled",
    ):
        (tmp_path / "b.jsonl").write_text(GOOD)
        open_data(tmp_path / "b.jsonl", accept=("text", "labelled"))
