"""A constitution: its file, the draw of principles, critiques and revisions, and preferences by a principle."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from server import Body, completion, serving

from tuningfork.data.judgements import read_judgements
from tuningfork.data.reader import open_data
from tuningfork.errors import DataError, RecipeError
from tuningfork.judges.constitution import Constitution, load_constitution
from tuningfork.stages import critique, judge

Make = Callable[..., Any]
PRINCIPLES: list[dict[str, Any]] = [
    {
        "name": "harm",
        "critique": "Say who is hurt.",
        "revise": "Hurt nobody.",
        "prefer": "Prefer what hurts nobody.",
        "weight": 3,
    },
    {"name": "help", "critique": "Say what is missing.", "revise": "Add it."},
    {"name": "calm", "prefer": "Prefer what is calm."},
]


def rows(stage: Any, name: str = "data.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (stage.out / name).read_text().splitlines()]


def test_principles_are_drawn_by_weight_and_by_use_and_by_id() -> None:
    constitution = Constitution.model_validate({"principles": PRINCIPLES})
    ids = [str(n) for n in range(2000)]
    drawn = constitution.draw("critique", ids, 0, 1)
    counts = Counter(principle.name for principle in drawn)
    assert set(counts) == {"harm", "help"} and 1420 < counts["harm"] < 1580
    assert {principle.name for principle in constitution.draw("prefer", ids, 0, 1)} == {"harm", "calm"}
    again = constitution.draw("critique", ids[::-1], 0, 1)
    assert again == drawn[::-1] and constitution.draw("critique", ids, 0, 2) != drawn


@pytest.mark.parametrize(
    ("principles", "message"),
    [
        ([], "principles"),
        ([{"name": "a"}], "neither what to critique nor"),
        ([{"name": "a", "critique": "x"}], "belong together"),
        ([PRINCIPLES[0], PRINCIPLES[0]], "one name"),
        ([{"name": "a", "prefer": "x", "weight": 0}], "weight"),
        ([{"name": "a", "prefer": "x", "weigth": 1}], "weigth"),
    ],
)
def test_a_file_that_is_no_constitution_is_refused(tmp_path: Path, principles: Any, message: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump({"principles": principles}))
    with pytest.raises(DataError, match=f"c.yaml: .*{message}"):
        load_constitution(path)
    with pytest.raises(DataError, match="no principle with `critique`"):
        Constitution.model_validate({"principles": PRINCIPLES[2:]}).draw("critique", ["1"], 0, 1)


def writer(body: Body) -> Any:
    """Answers, critiques by the principle it is given, and revises by the critique it is given."""
    text = body["messages"][0]["content"]
    if text.endswith("New answer:"):
        said = text.partition("[Critique]\n")[2].partition("\n\n")[0]
        if "question 3" in text:
            return f"{said} so: new"
        return completion("never ends", "length") if "question 4" in text else f"revised after ({len(said)})"
    if text.endswith("Critique:"):
        return f"critique by {text.rsplit(chr(10), 2)[1]}" if "question 5" not in text else " "
    return "a first answer"


def criticise(
    make_stage: Make, tmp_path: Path, url: str, given: bool = True, name: str = "stage", **changes: Any
) -> Any:
    data = tmp_path / "data.jsonl"
    found = [{"prompt": f"question {n}?"} | ({"completion": f"given {n}"} if given else {}) for n in range(8)]
    data.write_text("".join(json.dumps(row) + "\n" for row in found))
    (tmp_path / "c.yaml").write_text(yaml.safe_dump({"principles": PRINCIPLES}))
    stage = make_stage(name, {"data": data, "constitution": tmp_path / "c.yaml"})
    by = {"kind": "endpoint", "url": url, "model": "big", "token_cap": 10**6, "retries": 0}
    values = {"by": by, "data": str(data), "constitution": "c.yaml", "minimum_share": 0.5, **changes}
    critique.run(stage, critique.StageSettings.model_validate(values))
    return stage


def test_the_last_revision_is_learnt_and_no_critique(make_stage: Make, tmp_path: Path) -> None:
    with serving(writer) as server:
        stage = criticise(make_stage, tmp_path, server.url, rounds=2)
    made = rows(stage)
    assert len(made) == 5 == stage.figures["rows"] and stage.figures["revised"] == 1.0 and stage.gates[0].passed
    assert open_data(stage.out / "data.jsonl").shape == "prompt_completion"
    for row in made:
        provenance = row["extra"]["provenance"]
        steps = provenance["steps"]
        assert provenance["first"].startswith("given") and len(steps) == 2 and steps[0]["of"] == provenance["first"]
        assert row["completion"] == f"revised after ({len(steps[1]['critique'])})"
        assert steps[1]["of"] == f"revised after ({len(steps[0]['critique'])})", (
            "the second round starts from the first's end"
        )
        assert all(step["critique"] not in row["completion"] for step in steps)
        wanted = {"harm": "critique by Say who is hurt.", "help": "critique by Say what is missing."}
        assert all(step["critique"] == wanted[step["principle"]] for step in steps)
    reasons = Counter(row["reason"] for row in rows(stage, "dropped.jsonl"))
    assert reasons == {"revision_repeats_critique": 1, "revision_cut_off": 1, "critique_empty": 1}
    assert sum(stage.figures["principles"].values()) == 10


def test_the_model_answers_first_where_there_are_no_answers(make_stage: Make, tmp_path: Path) -> None:
    with serving(writer) as server:
        stage = criticise(make_stage, tmp_path, server.url, given=False)
        assert {row["extra"]["provenance"]["first"] for row in rows(stage)} == {"a first answer"}
        own = criticise(make_stage, tmp_path, server.url, name="own", answers=False)
        assert {row["extra"]["provenance"]["first"] for row in rows(own)} == {"a first answer"}


def test_critiques_and_revisions_may_be_asked_for_in_own_words(make_stage: Make, tmp_path: Path) -> None:
    (tmp_path / "critique.txt").write_text("$principle: $prompt $answer\nCritique:\n")
    (tmp_path / "revise.txt").write_text("$prompt\n[Critique]\n$critique\n\n$answer\nNew answer:\n")
    data = tmp_path / "data.jsonl"
    data.write_text("".join(json.dumps({"prompt": f"q {n}?", "completion": "given"}) + "\n" for n in range(4)))
    (tmp_path / "c.yaml").write_text(yaml.safe_dump({"principles": PRINCIPLES[1:2]}))
    files = {"critique_prompt": tmp_path / "critique.txt", "revise_prompt": tmp_path / "revise.txt"}
    stage = make_stage("own", {"data": data, "constitution": tmp_path / "c.yaml", **files})
    with serving(writer) as server:
        by = {"kind": "endpoint", "url": server.url, "model": "big", "token_cap": 10**6, "retries": 0}
        values = {"by": by, "data": "d", "constitution": "c", "critique_prompt": "x", "revise_prompt": "y"}
        critique.run(stage, critique.StageSettings.model_validate(values))
        asked = sorted(body["messages"][0]["content"] for body in server.bodies)
    assert "Say what is missing.: q 0? given\nCritique:" in asked
    assert any(
        text.startswith("q 3?\n[Critique]\ncritique by ") and text.endswith("given\nNew answer:") for text in asked
    )
    assert {row["completion"][:13] for row in rows(stage)} == {"revised after"}
    (tmp_path / "revise.txt").write_text("$prompt $answer")
    with pytest.raises(DataError, match=r"revise.txt: the question lacks \$critique"):
        critique.run(stage, critique.StageSettings.model_validate(values))


def test_too_few_rows_stop_the_run(make_stage: Make, tmp_path: Path) -> None:
    with serving(writer) as server:
        stage = criticise(make_stage, tmp_path, server.url, minimum_share=0.9)
    assert not stage.gates[0].passed and "5 of 8 prompts" in stage.gates[0].message


def test_preferences_are_asked_by_one_principle_in_both_orders_and_clamped(make_stage: Make, tmp_path: Path) -> None:
    data = tmp_path / "data.jsonl"
    found = [{"prompt": f"q{n}", "chosen": f"kind {n}", "rejected": f"rude {n}"} for n in range(12)]
    data.write_text("".join(json.dumps(row) + "\n" for row in found))
    (tmp_path / "c.yaml").write_text(yaml.safe_dump({"principles": PRINCIPLES}))
    stage = make_stage(inputs={"data": data, "constitution": tmp_path / "c.yaml"})

    def say(body: Body) -> str:
        first = body["messages"][0]["content"].partition("[Answer A]\n")[2].startswith("kind")
        return f"I have thought about it, and the better one is {'A' if first else 'B'}"

    with serving(say) as server:
        by = {"kind": "endpoint", "url": server.url, "model": "big", "token_cap": 10**6}
        values = {
            "judge": {"name": "model", "by": by, "reads": "text"}, "data": str(data), "constitution": "c.yaml", "clamp": 0.6,
        }  # fmt: skip
        judge.run(stage, judge.StageSettings.model_validate(values))
        prompts = server.prompts
    by_pair: dict[str, set[str]] = {}
    for text in prompts:
        name = text.partition("[Message]\n")[2].partition("\n")[0]
        by_pair.setdefault(name, set()).add(text.splitlines()[1])
    assert len(prompts) == 24 and all(len(principles) == 1 for principles in by_pair.values())
    assert set[str]().union(*by_pair.values()) == {"Prefer what hurts nobody.", "Prefer what is calm."}
    judged = read_judgements(stage.out / "judgements.jsonl")
    assert {one.probability for one in judged} == {0.6} and all(one.ranking == [[0], [1]] for one in judged)
    assert judged[0].note.startswith("principle: Prefer what")
    with pytest.raises(RecipeError, match="reads no principle"):
        rule = {
            "judge": {"name": "reward", "reward": {"name": "repetition"}},
            "data": str(data),
            "constitution": "c.yaml",
        }
        judge.run(stage, judge.StageSettings.model_validate(rule))
