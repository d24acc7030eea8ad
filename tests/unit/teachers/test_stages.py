"""The stages that ask a teacher: what they keep and drop, provenance and cost, and that a cut run pays for nothing twice."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from server import Body, completion, serving

from tuningfork.asking.replies import Replies
from tuningfork.data.reader import open_data
from tuningfork.errors import ModelError
from tuningfork.stages import ask, evolve, self_instruct

Make = Callable[..., Any]
SEEDS = [
    "Give me a recipe for a soup of lentils.", "What is the capital of Portugal?", "Translate 'good morning' into French.",
    "Write a letter of thanks to a neighbour.", "Sort these numbers: 5, 2, 9.", "Why does ice float on water?",
    "List five birds that cannot fly.",
]  # fmt: skip


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def rows(stage: Any, name: str = "data.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (stage.out / name).read_text().splitlines()]


def teacher(url: str, **changes: Any) -> dict[str, Any]:
    return {"kind": "endpoint", "url": url, "model": "big", "token_cap": 10**6, "retries": 0, **changes}


def big(body: Body) -> str:
    """A teacher that writes two new tasks, one old one and one of a picture, and answers everything in its own way."""
    text = body["messages"][0]["content"]
    if text.startswith("Here is a numbered list"):
        a, b, c, d = (f"w{body['seed'] * factor % 9973}" for factor in (3, 5, 7, 11))
        return f"9. Explain {a} {b} and {c}.\n10. Invent riddles {d} {a} {c} {b}.\n11. {SEEDS[5]}\n12. Describe the picture of {a}."
    return f"My answer is {body['seed']}."


def instruct(make_stage: Make, tmp_path: Path, url: str, name: str = "stage", **changes: Any) -> Any:
    seeds = write(tmp_path / "seeds.jsonl", [{"id": f"s{n}", "prompt": text} for n, text in enumerate(SEEDS)])
    stage = make_stage(name, {"seeds": seeds})
    values = {"teacher": teacher(url), "seeds": str(seeds), "count": 6, "requests": 2, "per_request": 4}
    self_instruct.run(stage, self_instruct.StageSettings.model_validate(values | changes))
    return stage


def test_self_instruct_writes_new_instructions_and_answers_with_provenance(make_stage: Make, tmp_path: Path) -> None:
    with serving(big) as server:
        prices = {"prompt_price": 2.0, "reply_price": 6.0}
        stage = instruct(make_stage, tmp_path, server.url, teacher=teacher(server.url, **prices))
    made = rows(stage)
    assert len(made) == 6 == len({row["prompt"] for row in made}) and stage.gates[0].passed
    assert all(row["completion"].startswith("My answer is") for row in made)
    written = made[0]["extra"]["provenance"]["written_by"]
    assert written["teacher"].startswith("big at 127.0.0.1") and written["template"].startswith("self_instruct@")
    assert set(written["shown"]) <= {f"s{n}" for n in range(7)} and len(written["shown"]) == 6
    assert {row["reason"] for row in rows(stage, "dropped.jsonl")} == {"duplicate", "excluded_word"}
    assert stage.figures["rounds"] == 2 and stage.figures["dropped"] == 8
    assert "1. " in server.prompts[0] and "numbered from 7 to 10" in server.prompts[0]
    assert any("numbered from 9 to 12" in prompt for prompt in server.prompts), "later rounds show what was made"
    # 4 requests and 6 answers of 10 + 5 tokens each
    assert (stage.figures["prompt_tokens"], stage.figures["reply_tokens"]) == (100, 50)
    assert stage.figures["cost"] == pytest.approx((100 * 2 + 50 * 6) / 1e6)
    assert open_data(stage.out / "data.jsonl").shape == "prompt_completion"


def test_a_cut_run_goes_on_and_pays_for_nothing_twice(make_stage: Make, tmp_path: Path) -> None:
    with serving(big) as server:
        straight = instruct(make_stage, tmp_path, server.url, "straight")
        num_requests = len(server.bodies)
    count = [0]

    def breaks(body: Body) -> Any:
        count[0] += 1
        return (400, "no more") if count[0] == 6 else big(body)

    with serving(breaks) as server:
        one_by_one = teacher(server.url, concurrency=1)
        with pytest.raises(ModelError, match="no more"):
            instruct(make_stage, tmp_path, server.url, "cut", teacher=one_by_one)
        assert len(Replies(tmp_path / "cache" / "replies.sqlite")) == num_requests + 5
        resumed = instruct(make_stage, tmp_path, server.url, "cut", teacher=one_by_one)
        assert len(server.bodies) == num_requests + 1, "the one that failed is asked again"
    texts = [[(row["prompt"], row["completion"]) for row in rows(stage)] for stage in (straight, resumed)]
    assert texts[0] == texts[1] and resumed.figures["replies_from_cache"] == 5


def test_a_cap_on_tokens_stops_asking_and_is_said(make_stage: Make, tmp_path: Path) -> None:
    with serving(lambda body: completion(big(body), usage=(600, 300))) as server:
        stage = instruct(make_stage, tmp_path, server.url, teacher=teacher(server.url, token_cap=3200), minimum_share=1)
    assert stage.figures["left_unasked"] > 0 and stage.figures["prompt_tokens"] + stage.figures["reply_tokens"] <= 3200
    assert not stage.gates[0].passed and any("cost_cap is reached" in text for text in stage.events.said)


def test_a_teacher_that_has_nothing_new_ends_the_rounds(make_stage: Make, tmp_path: Path) -> None:
    with serving(lambda body: f"9. {SEEDS[0]}") as server:
        stage = instruct(make_stage, tmp_path, server.url)
    assert stage.figures["rounds"] == 3 and not stage.gates[0].passed and rows(stage) == []


def test_evolve_eliminates_and_leaves_the_parent_for_the_next_round(make_stage: Make, tmp_path: Path) -> None:
    def say(body: Body) -> Any:
        text = body["messages"][0]["content"]
        if text.startswith("Here are two tasks"):
            return "Equal." if "five birds" in text else "Not equal"
        if "Task: " not in text:
            return "A plain answer."
        task = text.rpartition("Task: ")[2]
        if task == SEEDS[1]:
            return "Rewritten instruction: What is it?"
        return (
            completion(task, "length")
            if task == SEEDS[4]
            else f"{task} Mention {body['seed'] % 97} and {body['seed'] % 89}."
        )

    with serving(say) as server:
        data = write(tmp_path / "data.jsonl", [{"prompt": text} for text in SEEDS])
        stage = make_stage(inputs={"data": data})
        values = {"teacher": teacher(server.url), "data": str(data), "rounds": 2, "minimum_share": 0.1}
        evolve.run(stage, evolve.StageSettings.model_validate(values))
    made, dropped = rows(stage), rows(stage, "dropped.jsonl")
    reasons = [row["reason"] for row in dropped]
    assert {"words_of_the_prompt", "cut_off", "nothing_added"} <= set(reasons)
    assert all(reasons.count(name) == 2 for name in ("words_of_the_prompt", "cut_off", "nothing_added")), "tried again"
    assert len(made) == stage.figures["evolved"] == 8
    depths = [row["extra"]["provenance"]["depth"] for row in made]
    assert depths == [1] * 4 + [2] * 4
    deep = made[-1]["extra"]["provenance"]
    assert deep["written_by"]["parent"].endswith(">1") and deep["root"] in [str(n) for n in range(1, 8)]
    templates = {row["extra"]["provenance"]["written_by"]["template"].partition("@")[0] for row in made}
    assert templates <= {"deepen", "broaden", "constrain"} and len(templates) > 1


def test_a_local_model_teaches_and_the_same_seed_gives_the_same_rows(
    make_stage: Make, tmp_path: Path, tiny_backbone: Any
) -> None:
    tiny_backbone.save(tmp_path / "model")
    prompts = write(tmp_path / "prompts.jsonl", [{"prompt": "the cat sat on"}, {"prompt": "what colour is the cat?"}])
    found = []
    for name in ("first", "second"):
        stage = make_stage(name, {"prompts": prompts, "teacher.model": tmp_path / "model"})
        values = {
            "teacher": {"kind": "local", "model": str(tmp_path / "model")}, "prompts": str(prompts), "samples": 3,
            "sampling": {"max_new_tokens": 8, "temperature": 1}, "minimum_share": 0,
        }  # fmt: skip
        ask.run(stage, ask.StageSettings.model_validate(values))
        found.append(rows(stage) + rows(stage, "dropped.jsonl"))
        assert stage.figures["replies"] == 6 and stage.figures["reply_tokens"] > 6
    assert found[0] == found[1] and len({row["completion"] for row in found[0]}) == 6
