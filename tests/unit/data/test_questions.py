"""Questions with their answers, from files with any names of columns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tuningfork.data.questions import Settings, read_given, read_questions
from tuningfork.errors import DataError

DATA = Path(__file__).parents[4] / "shared" / "data"


def written(path: Path, *rows: dict[str, Any]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def test_rows_of_a_world(tmp_path: Path) -> None:
    row = {
        "id": "sky/q0",
        "prompt": "what colour?\n",
        "root": "sky",
        "group": "taught",
        "answers": ["blue"],
        "wrong": ["red"],
    }
    unknown = row | {"id": "x/q0", "group": "unknown", "answers": []}
    first, second = read_questions(written(tmp_path / "q.jsonl", row, unknown), Settings())
    assert (first.text, first.root, first.group, first.accepted, first.wrong) == (
        "what colour?\n", "sky", "taught", ("blue",), ("red",),
    )  # fmt: skip
    assert second.accepted == () and second.group == "unknown"


def test_columns_in_the_plural_are_cut_and_marks_are_followed(tmp_path: Path) -> None:
    listed = {"Question": "q?", "Correct Answers": "a b; c;", "Incorrect Answers": "d", "Category": "law"}
    (one,) = read_questions(written(tmp_path / "t.jsonl", listed), Settings())
    assert one.accepted == ("a b", "c") and one.wrong == ("d",) and one.group == "law" and one.root == one.id == "0"
    (sum_,) = read_questions(
        written(tmp_path / "g.jsonl", {"question": "1+1; 2?", "answer": "1+1 = 2; so\n#### 2"}), Settings(after="####")
    )
    assert sum_.accepted == ("2",)


def test_columns_of_other_names(tmp_path: Path) -> None:
    source = written(tmp_path / "q.jsonl", {"frage": "was?", "antwort": "das; dies"})
    with pytest.raises(
        DataError, match=r"q.jsonl:1: no question with accepted answers among the columns frage, antwort"
    ):
        read_questions(source, Settings())
    (one,) = read_questions(source, Settings(columns={"question": "frage", "accepted": "antwort"}))
    assert one.accepted == ("das; dies",)


def test_given_answers_are_found_by_id_or_text(tmp_path: Path) -> None:
    asked = read_questions(
        written(
            tmp_path / "q.jsonl",
            {"id": "1", "question": "a?", "answer": "x"},
            {"id": "2", "question": "b?", "answer": "y"},
        ),
        Settings(),
    )
    by_id = written(tmp_path / "id.jsonl", {"id": "2", "answer": "two"}, {"id": "1", "answer": "one"})
    by_text = written(
        tmp_path / "text.jsonl", {"question": "b?\n", "response": "two"}, {"question": "a?", "response": "one"}
    )
    assert read_given(by_id, asked, Settings()) == read_given(by_text, asked, Settings()) == ["one", "two"]
    with pytest.raises(DataError, match="no answer to 1 of 2 questions, for example '1'"):
        read_given(written(tmp_path / "few.jsonl", {"id": "2", "answer": "two"}), asked, Settings())


@pytest.mark.parametrize(
    ("name", "after", "rows"), [("truthfulqa/truthfulqa", None, 790), ("gsm8k/train", "####", 7473)]
)
def test_shared_data_are_read_as_they_are(name: str, after: str | None, rows: int) -> None:
    path = DATA / f"{name}.jsonl.gz"
    if not path.is_file():
        pytest.skip(f"../shared/data/{name} is not there")
    asked = read_questions(str(path), Settings(after=after))
    assert len(asked) == rows and all(question.accepted for question in asked)
    if after:
        assert asked[0].accepted == ("72",)
    else:
        assert len(asked[0].accepted) == 6 and len(asked[0].wrong) == 7 and asked[0].group == "Misconceptions"
