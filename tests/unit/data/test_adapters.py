"""What stages learn from: every shape with answers gives demonstrations, every shape with an order gives judgements."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tuningfork.data.adapters import DEMONSTRATION_SHAPES, demonstrations, rankings, texts, uniform
from tuningfork.data.judgements import read_judgements
from tuningfork.data.reader import open_data
from tuningfork.errors import DataError

VARIANTS = Path(__file__).parent / "variants"


def learnt(name: str) -> list[dict[str, Any]]:
    return [row for _, row in demonstrations(open_data(VARIANTS / name, accept=DEMONSTRATION_SHAPES))]


def turns(*contents: str) -> dict[str, Any]:
    return {"messages": [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(contents)]}


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("alpaca.json", [{"prompt": "Name it.\n\na red fruit", "completion": "Apple."}, {"prompt": "Say hi.", "completion": "Hi."}]),
        ("one-conversation.json", [turns("Hi", "Hello")]),
        ("preference.jsonl", [{"prompt": "p", "completion": "good"}]),
        ("chosen-last-messages.jsonl", [turns("Hi", "Hello")]),
        ("mmlu.jsonl", [{"prompt": "q", "completion": "c"}]),
        ("references.jsonl", [{"prompt": "name[X]", "completion": "X."}, {"prompt": "name[X]", "completion": "It is X."}]),
        ("oasst-trees.jsonl", [turns("q", "a")]),
        ("oasst-messages.jsonl", [turns("q", "a")]),
        ("kto.jsonl", []),
        ("thumbs.csv", [{"prompt": "q", "completion": "a"}]),
    ],
)  # fmt: skip
def test_demonstrations(name: str, rows: list[dict[str, Any]]) -> None:
    assert learnt(name) == rows


def test_pairs_beside_conversations_become_conversations() -> None:
    rows = [("f:1", {"prompt": "a", "completion": "b"}), ("f:2", turns("c", "d"))]
    assert [row for _, row in uniform(rows)] == [turns("a", "b"), turns("c", "d")]
    assert uniform(rows[:1]) == rows[:1]


def test_rows_without_an_answer_are_counted_as_faulty(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    rows = [{"prompt": "a", "completion": "b"}] * 199 + [{"prompt": "a", "completion": " "}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = open_data(path)
    assert len(list(demonstrations(data))) == 199 and data.skipped.count == 1
    assert data.skipped.first == [
        f"{path}:200: the answer is empty, so nothing to learn from; remove the row or give it an answer"
    ]
    with pytest.raises(DataError, match=r"a.jsonl:200: the answer is empty"):
        list(demonstrations(open_data(path, strict=True)))


def test_texts_leave_labels_aside() -> None:
    assert [row for _, row in texts(open_data(VARIANTS / "labelled.csv"))] == [
        {"text": "good one"},
        {"text": "bad one"},
    ]


def test_trees_give_the_ranking_of_every_message() -> None:
    (ranking,) = [row for _, row in rankings(open_data(VARIANTS / "oasst-trees.jsonl"))]
    assert ranking == {"prompt": [{"role": "user", "content": "q"}], "answers": ["b", "a"], "ranks": [2, 1]}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ranks.jsonl", [("p", [[1], [0, 2]], 0)]),
        ("preference.jsonl", [("p", [[0], [1]], 2)]),
        ("comparisons.jsonl", [("q", [[1], [0]], 0), ("q", [[0, 1]], 0)]),
        ("preferred-with-tie.jsonl", [("p", [[0, 1]], 0), ("q", [[1], [0]], 0)]),
        ("oasst-trees.jsonl", [("\n\nHuman: q\n\nAssistant:", [[1], [0]], 0)]),
        ("implicit-prompt.jsonl", [("\n\nHuman: a?\n\nAssistant:", [[0], [1]], 0)]),
        ("judgements.jsonl", [("p", [[1], [0]], 0)]),
    ],
)
def test_judgements(name: str, expected: list[tuple[str, list[list[int]], float]]) -> None:
    found = read_judgements(VARIANTS / name)
    assert [(one.prompt, one.ranking, one.strength) for one in found] == expected
    assert len({one.id for one in found}) == len(found)


def test_judgements_keep_dialogues_and_give_rankings() -> None:
    (one,) = read_judgements(VARIANTS / "oasst-trees.jsonl")
    assert one.messages == [{"role": "user", "content": "q"}]
    assert one.as_ranking() == {"prompt": one.prompt, "answers": ["a", "b"], "ranks": [1, 2]}
