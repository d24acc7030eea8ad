"""The stages imitation, mixture and likelihood on tiny models."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tuningfork.errors import DataError
from tuningfork.stages import imitation, likelihood, mixture
from tuningfork.worlds.colours.generator import load

Make = Callable[..., Any]
SPEC = Path(__file__).parents[1] / "e2e" / "tiny-world.yaml"


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_teacher_that_knows_no_more_fails_the_gate(make_stage: Make, tmp_path: Path, tiny_backbone: Any) -> None:
    world = tmp_path / "world"
    load(spec=str(SPEC)).build(0, world)
    tiny_backbone.save(tmp_path / "model")
    asked = lines(world / "prompts_train.jsonl")[:12]
    write(tmp_path / "inside.jsonl", asked)
    write(tmp_path / "imitated.jsonl", asked[:2])
    files = {
        **dict.fromkeys(("teacher", "before", "after", "judge"), tmp_path / "model"), "inside": tmp_path / "inside.jsonl",
        "outside": world / "prompts_monitor.jsonl", "imitated": tmp_path / "imitated.jsonl", "truth": world,
        "probes": world / "probes.jsonl",
    }  # fmt: skip
    stage = make_stage(inputs=files)
    values = {name: str(path) for name, path in files.items()} | {"sampling": {"max_new_tokens": 6}}
    imitation.run(stage, imitation.StageSettings.model_validate(values))
    found = json.loads((stage.out / "imitation.json").read_text())
    assert found["verdict"] == stage.figures["verdict"] == "nothing imitated"
    names = {(one["name"], one["side"]) for one in found["findings"]}
    measures = ("length", "format", "facts", "preference", "judge_preference", "probe")
    assert names == {(name, side) for name in measures for side in ("inside", "outside")}
    assert stage.figures["inside_prompts_trained_on"] == 2 and stage.figures["outside_prompts_trained_on"] == 0
    assert [(gate.name, gate.passed) for gate in stage.gates] == [
        (f"{name}_{side}", False)
        for side in ("inside", "outside")
        for name in ("teacher_is_better", "teacher_knows_more")
    ]
    same = next(one for one in found["findings"] if one["name"] == "probe" and one["side"] == "outside")
    assert same["change"]["difference"] == 0 and 0 < same["change"]["before"] < 1


def test_a_mixture_keeps_a_question_on_one_side_and_counts_what_is_left_out(make_stage: Make, tmp_path: Path) -> None:
    pairs = [{"prompt": f"question {n % 20}", "completion": f"answer {n}"} for n in range(40)]
    chats = [{"messages": [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "good day " * 9}]}]
    files = {
        "sources.0.data": write(tmp_path / "a.jsonl", [*pairs, {"prompt": "long", "completion": "word " * 50}]),
        "sources.1.data": write(tmp_path / "b.jsonl", chats),
    }
    sources = [{"data": str(files["sources.0.data"]), "rows": 30}, {"data": str(files["sources.1.data"])}]
    stage = make_stage(inputs=files)
    values = {"sources": sources, "form": "conversation", "heldout_share": 0.2, "most_words": 40}
    mixture.run(stage, mixture.StageSettings.model_validate(values))
    train, heldout = lines(stage.out / "train.jsonl"), lines(stage.out / "heldout.jsonl")
    assert (len(train), len(heldout), stage.figures["too_long"]) == (31, 8, 1)
    asked = [{row["messages"][0]["content"] for row in rows} for rows in (train, heldout)]
    assert not asked[0] & asked[1] and "hello" in asked[0] and "long" not in asked[0] | asked[1]
    sources[0]["rows"] = 33
    with pytest.raises(DataError, match="32 rows to train on, fewer than the 33"):
        mixture.run(make_stage("more", files), mixture.StageSettings.model_validate(values))


def test_a_mixture_makes_text_of_conversations_too(make_stage: Make, tmp_path: Path) -> None:
    files = {
        "sources.0.data": write(tmp_path / "a.jsonl", [{"text": "Once upon a time."}]),
        "sources.1.data": write(tmp_path / "b.jsonl", [{"prompt": "Who?", "completion": "I."}]),
    }
    stage = make_stage(inputs=files)
    sources = [{"data": str(path)} for path in files.values()]
    mixture.run(stage, mixture.StageSettings.model_validate({"sources": sources, "form": "text"}))
    texts = {row["text"] for row in lines(stage.out / "train.jsonl")}
    assert texts == {"Once upon a time.", "\n\nHuman: Who?\n\nAssistant: I."}


def test_likelihood_tells_two_models_apart_and_leaves_out_what_was_trained_on(
    make_stage: Make, tmp_path: Path, tiny_backbone: Any
) -> None:
    from tuningfork.model.settings import ChatSettings

    tiny_backbone.set_chat(ChatSettings(template="chatml"))
    tiny_backbone.save(tmp_path / "first")
    with __import__("torch").no_grad():
        tiny_backbone.model.lm_head.weight.mul_(8)  # surer of what it does not know
    tiny_backbone.save(tmp_path / "second")
    answers = [
        {"instruction": f"what is {n}?", "output_1": f"it is {n}", "output_2": "the mat", "preferred": "1"}
        for n in range(12)
    ]
    files = {
        "first": tmp_path / "first", "second": tmp_path / "second",
        "answers.good.data": write(tmp_path / "good.jsonl", answers),
        "trained.mine": write(tmp_path / "mine.jsonl", [{"prompt": "What is 3?", "completion": "three"}]),
    }  # fmt: skip
    stage = make_stage(inputs=files)
    values = {
        "first": str(files["first"]), "second": str(files["second"]), "judge": "good",
        "answers": {"good": {"data": str(files["answers.good.data"])}}, "trained": {"mine": str(files["trained.mine"])},
    }  # fmt: skip
    likelihood.run(stage, likelihood.StageSettings.model_validate(values))
    found = json.loads((stage.out / "likelihood.json").read_text())
    assert found["better"] == "first" and found["answers"]["good"]["n"] == 11 and stage.figures["good_left_out"] == 1
    assert found["answers"]["good"]["difference"] > 0
