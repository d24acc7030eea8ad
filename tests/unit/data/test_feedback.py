"""Rows of single labelled responses."""

from pathlib import Path

import pytest

from tuningfork.data.feedback import Feedback, read_feedback
from tuningfork.errors import DataError


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_rows_are_read(tmp_path: Path) -> None:
    rows = (
        '{"prompt": "p", "completion": "c", "label": true, "root": "r"}\n'
        '{"prompt": "q", "completion": "d", "label": 0}\n'
    )
    found = read_feedback(write(tmp_path / "rows.jsonl", rows))
    assert found == [Feedback("p", "c", True, "r"), Feedback("q", "d", False, "q")]


@pytest.mark.parametrize("label", ['"good"', "0.5", "2", '"true"'])
def test_other_labels_are_refused_with_their_row(tmp_path: Path, label: str) -> None:
    path = write(tmp_path / "rows.jsonl", f'{{"prompt": "p", "completion": "c", "label": {label}}}\n')
    with pytest.raises(DataError, match=r"row 1: label .* is neither true nor false"):
        read_feedback(path)
