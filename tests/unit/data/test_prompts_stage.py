"""The stage `prompts`: each prompt once, and dialogues that begin alike under one root."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tuningfork.data.jsonl import read_jsonl
from tuningfork.stage import StageContext
from tuningfork.stages import prompts

Make = Callable[..., StageContext]


def made(make_stage: Make, tmp_path: Path, rows: list[dict[str, Any]], **settings: Any) -> list[dict[str, Any]]:
    path = tmp_path / "data.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    stage = make_stage("prompts", {"data": path})
    prompts.run(stage, prompts.StageSettings.model_validate({"data": "data.jsonl", **settings}))
    found = read_jsonl(stage.out / "prompts.jsonl", required=("id", "prompt", "root"))
    different = len({row["prompt"] for row in rows if "prompt" in row}) or len(found)
    few = settings.get("limit", different)
    assert stage.figures == {
        "prompts": len(found),
        "roots": len({row["root"] for row in found}),
        "too_long": max(0, min(few, different) - len(found)),
    }
    return found


def dialogue(*turns: str) -> str:
    names = ("Human", "Assistant")
    return "".join(f"\n\n{names[number % 2]}: {turn}" for number, turn in enumerate(turns))


def test_preferences_in_dialogues(make_stage: Make, tmp_path: Path) -> None:
    sides = [(("hello", "hi"), ("hello", "go away")), (("hello", "hi", "and?", "well"), ("hello", "hi", "and?", "no"))]
    rows = [{"chosen": dialogue(*chosen), "rejected": dialogue(*rejected)} for chosen, rejected in sides]
    found = made(make_stage, tmp_path, [*rows, rows[0]])
    assert found == [
        {"id": "1", "prompt": "\n\nHuman: hello\n\nAssistant:", "root": "hello"},
        {"id": "2", "prompt": dialogue("hello", "hi", "and?") + "\n\nAssistant:", "root": "hello"},
    ]


def test_prompts_keep_their_names_and_are_drawn_by_seed(make_stage: Make, tmp_path: Path) -> None:
    rows = [{"id": f"q{n}", "root": f"r{n // 2}", "prompt": f"what is {n}?"} for n in range(20)]
    found = made(make_stage, tmp_path, rows)
    assert [(row["id"], row["root"], row["prompt"]) for row in found] == [tuple(row.values()) for row in rows]
    drawn = made(make_stage, tmp_path, rows, limit=5)
    assert len(drawn) == 5 and drawn == made(make_stage, tmp_path, rows, limit=5)
    assert all(row in found for row in drawn)


def test_long_prompts_are_left_out_and_counted(make_stage: Make, tmp_path: Path) -> None:
    rows = [{"prompt": "word " * length} for length in (3, 9, 4)]
    assert [row["id"] for row in made(make_stage, tmp_path, rows, most_words=4)] == ["1", "3"]


def test_messages_are_kept_beside_the_text(make_stage: Make, tmp_path: Path) -> None:
    turns = [{"role": "system", "content": "be kind"}, {"role": "user", "content": "hello"}]
    (row,) = made(make_stage, tmp_path, [{"messages": turns}])
    assert row["messages"] == turns and row["root"] == "hello"
    assert row["prompt"] == "\n\nSystem: be kind\n\nHuman: hello\n\nAssistant:"
