"""Judgements: one schema in and out, ties give no pair, plain preference rows are read too."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tuningfork.data.judgements import Candidate, Judgement, Rater, read_judgements, write_judgements
from tuningfork.errors import DataError

ANNA = Rater(id="anna", kind="person")


def judgement(ranking: list[list[int]], candidates: int = 2) -> Judgement:
    texts = [Candidate(text=f"answer {number}", ids=[number, 2]) for number in range(candidates)]
    return Judgement(
        id="1", item="q", root="cat", prompt="what?", candidates=texts, shown=[0, 1], ranking=ranking, rater=ANNA
    )


def test_rankings_give_their_pairs() -> None:
    assert judgement([[1], [0]]).pairs() == [(1, 0)]
    assert judgement([[0, 1]]).pairs() == []
    assert judgement([[2], [0, 1]], 3).pairs() == [(2, 0), (2, 1)]
    assert judgement([[2], [0], [1]], 3).pairs() == [(2, 0), (2, 1), (0, 1)]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    kept = [judgement([[1], [0]]), judgement([[0, 1]])]
    write_judgements(tmp_path / "j.jsonl", kept)
    assert read_judgements(tmp_path / "j.jsonl") == kept
    assert all(json.loads(line)["version"] == 1 for line in (tmp_path / "j.jsonl").read_text().splitlines())


def test_preference_rows_are_judgements(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text('{"prompt": "what?", "chosen": "good", "rejected": "bad", "margin": 2}\n')
    (found,) = read_judgements(path)
    assert found.pairs() == [(0, 1)] and found.strength == 2 and found.root == "what?"
    assert [candidate.text for candidate in found.candidates] == ["good", "bad"]


@pytest.mark.parametrize("row", ['{"chosen": "a", "rejected": "b"}', '{"id": "1"}'])
def test_a_row_that_is_none_is_named(tmp_path: Path, row: str) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text('{"prompt": "x", "chosen": "a", "rejected": "b"}\n' + row + "\n")
    with pytest.raises(DataError, match=r"p.jsonl:2: not a row of the shape preference: no "):
        read_judgements(path)
