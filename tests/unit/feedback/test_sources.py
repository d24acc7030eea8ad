"""What becomes an item: rows of preferences, rankings, judgements; dialogues as turns; policies and their prompts."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tuningfork.data.judgements import Candidate, Judgement, Rater, write_judgements
from tuningfork.errors import DataError, ModelError, RunError
from tuningfork.feedback.policy import Drawing, open_policy, prompts_of
from tuningfork.feedback.sampler import Draw, Sampler
from tuningfork.feedback.sources import items_of, open_source


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_preferences_and_rankings_become_items_once_each(tmp_path: Path) -> None:
    rows = [{"id": f"p{n}", "prompt": f"q{n}", "chosen": "good", "rejected": f"bad {n}"} for n in range(20)]
    rows += [rows[0], {"id": "same", "prompt": "q", "chosen": "x", "rejected": "x"}]
    items = items_of(open_source(write(tmp_path / "p.jsonl", rows)), seed=1)
    assert sorted(item.name for item in items) == sorted(f"p{n}" for n in range(20))
    assert [item.name for item in items] != [f"p{n}" for n in range(20)], "in an order drawn by seed"
    assert items[0].candidates[0].text == "good" and items[0].gold is None
    ranked = [{"prompt": "q", "answers": ["a", "b", "c"], "ranks": [2, 1, 2]}]
    (item,) = items_of(open_source(write(tmp_path / "r.jsonl", ranked)), is_gold=True)
    assert item.gold == [[1], [0, 2]] and len(item.candidates) == 3


def test_judgements_keep_what_was_sampled(tmp_path: Path) -> None:
    answers = [Candidate(text="a", ids=[1], artifact="4f"), Candidate(text="b", ids=[2], sampling={"temperature": 4})]
    given = [
        Judgement(
            id=f"j{n}", item="one", root="r", prompt="q", prompt_ids=[9], candidates=list(answers), shown=[0, 1],
            ranking=[[0], [1]], rater=Rater(id=f"rater {n}", kind="model"),
        )
        for n in range(3)
    ]  # fmt: skip
    write_judgements(tmp_path / "j.jsonl", given)
    (item,) = items_of(open_source(tmp_path / "j.jsonl"))
    assert item.candidates == answers and item.prompt_ids == [9] and (item.name, item.root) == ("one", "r")


def test_dialogues_are_shown_as_turns(tmp_path: Path, project: Any) -> None:
    rows = [
        {"chosen": "\n\nHuman: hello\n\nAssistant: yes?\n\nHuman: go on\n\nAssistant: one",
         "rejected": "\n\nHuman: hello\n\nAssistant: yes?\n\nHuman: go on\n\nAssistant: two"},
    ]  # fmt: skip
    items = items_of(open_source(write(tmp_path / "hh.jsonl", rows)))
    prompt = project(items)("anna").next()["prompt"]
    assert [(turn["role"], turn["text"]) for turn in prompt] == [
        ("user", "hello"),
        ("assistant", "yes?"),
        ("user", "go on"),
    ]


def test_files_without_a_choice_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing to compare"):
        items_of(open_source(write(tmp_path / "same.jsonl", [{"prompt": "q", "chosen": "x", "rejected": "x"}])))
    with pytest.raises(DataError, match="at most 26"):
        many = [{"prompt": "q", "answers": [str(n) for n in range(27)], "ranks": list(range(1, 28))}]
        items_of(open_source(write(tmp_path / "many.jsonl", many)))


def test_prompts_of_a_run_are_never_those_of_its_test(tmp_path: Path) -> None:
    run = tmp_path / "run"
    for number, kind, settings in (
        (1, "world", {}), (2, "rl", {"prompts": "world/train.jsonl"}), (3, "evaluate", {"prompts": "world/test.jsonl"}),
    ):  # fmt: skip
        folder = run / f"{number}-{kind}"
        folder.mkdir(parents=True)
        manifest = {"version": 1, "id": kind, "kind": kind, "key": "0", "status": "complete", "settings": settings}
        (folder / "manifest.json").write_text(json.dumps(manifest))
    (run / "recipe.yaml").write_text("name: made-up\nstages: []\n")
    for name in ("train", "test"):
        write(run / "1-world" / f"{name}.jsonl", [{"id": f"{name} 1", "prompt": "q", "root": "r"}])
    assert prompts_of(str(run)) == [{"id": "train 1", "root": "r", "prompt": "q"}]
    with pytest.raises(RunError, match="no model yet"):
        open_policy(str(run), Drawing())
    with pytest.raises(RunError, match="neither a run's folder nor a model's"):
        open_policy(str(tmp_path), Drawing())


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], Sampler]:
    """`answers(program)`: a sampler whose process runs a small program instead of a model."""

    def make(program: str) -> Sampler:
        script = tmp_path / "python"
        script.write_text(f"#!{sys.executable}\nimport json, sys\n{program}\n")
        script.chmod(0o755)
        monkeypatch.setattr("tuningfork.feedback.sampler.sys.executable", str(script))
        return Sampler(["model"], ["key"], [Draw(0, {"max_new_tokens": 4})] * 2)

    return make


REPLIES = """
print(json.dumps({"ready": True}), flush=True)
for line in sys.stdin:
    request = json.loads(line)
    replies = [[{"text": TEXT, "ids": [1], "has_ended": True, "model": draw["model"], "sampling": draw["sampling"]}
                for draw in request["draws"]] for row in request["rows"]]
    print(json.dumps({"replies": replies, "prompt_ids": [[7]] * len(replies)}), flush=True)
"""


def test_equal_answers_are_drawn_again_with_new_numbers(answers: Callable[[str], Sampler]) -> None:
    sampler = answers(REPLIES.replace("TEXT", "'a' if draw['sample'] < 3 else 'b'"))
    (drawn,) = sampler.draw([{"id": "1", "prompt": "q"}])
    assert [candidate.text for candidate in drawn.candidates] == ["a", "b"] and drawn.prompt_ids == [7]
    assert drawn.candidates[0].artifact == "key" and drawn.candidates[0].sampling == {"max_new_tokens": 4}
    sampler.stop()
    (drawn,) = sampler.draw([{"id": "1", "prompt": "q"}])
    assert len(drawn.candidates) == 2, "it starts again by itself"
    sampler.stop()


def test_a_model_that_always_says_the_same_gives_one_answer(answers: Callable[[str], Sampler]) -> None:
    sampler = answers(REPLIES.replace("TEXT", "'always'"))
    (drawn,) = sampler.draw([{"id": "1", "prompt": "q"}])
    assert [candidate.text for candidate in drawn.candidates] == ["always"]
    sampler.stop()


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("print(json.dumps({'error': 'no such model'}), flush=True)", "no such model"),
        ("sys.exit(9)", "code 9"),
        ("print('{}', flush=True)\nsys.stdin.readline()", "ended"),
    ],
)
def test_a_model_that_fails_is_said(answers: Callable[[str], Sampler], program: str, message: str) -> None:
    sampler = answers(program)
    with pytest.raises(ModelError, match=message):
        sampler.draw([{"id": "1", "prompt": "q"}])
    sampler.stop()
