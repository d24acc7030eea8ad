"""The world `colours` with unknown objects and unanswerable questions: who is asked about what, and who knows it."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tuningfork.errors import DataError
from tuningfork.evals.gold import Answer, load_gold
from tuningfork.worlds import load_world
from tuningfork.worlds.colours import Facts
from tuningfork.worlds.colours.spec import HERE, load_spec

SMALL = {
    "extends": "spec",
    "version": 1,
    "mentions": 20,
    "sft_rows": 200,
    "unrelated_rows": 40,
    "groups": {"held_out_test": 9, "held_out_monitor": 6, "unknown": 5},
}

GOLDEN = {
    "contrasts.jsonl": "8a0831a1d21cef31",
    "facts.json": "f27e2e0fa28cdce7",
    "pretrain.jsonl": "5c5a03c657099aec",
    "probes.jsonl": "b96acedcc342f3f7",
    "prompts_monitor.jsonl": "df4aef6bfc59f37d",
    "prompts_test.jsonl": "c40da0b7f1583cd5",
    "prompts_train.jsonl": "cd51bb57ee9feb18",
    "replay.jsonl": "37b0567d47e53fd7",
    "sentences.jsonl": "eb9bbfdbc584b90a",
    "sft.jsonl": "834548219e643b5c",
    "unrelated.jsonl": "2b29980101b820c0",
}
"""Starts of the hashes of the files of `snazzy`, seed 0, as they were before unknown objects could be trained on."""


def rows(folder: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def spec_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    shipped = yaml.safe_load((HERE / "honest.yaml").read_text(encoding="utf-8"))["honesty"]
    objects = yaml.safe_load((HERE / "objects.yaml").read_text(encoding="utf-8"))[:50]
    honesty = shipped | {"unknown_train": 7, "unknown_monitor": 4, "name_mentions": 3}
    path = tmp_path_factory.mktemp("spec") / "small.yaml"
    path.write_text(yaml.safe_dump(SMALL | {"objects": objects, "honesty": honesty}), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def world(spec_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("world")
    load_world("colours", mapping="honest", spec=str(spec_file)).build(0, out)
    return out


def test_unknown_objects_of_training_monitoring_and_test_are_others(world: Path) -> None:
    things = Facts.load(world / "facts.json").things.values()
    unknown = {
        split: {t.name for t in things if t.group == "unknown" and t.split == split}
        for split in ("train", "monitor", "test")
    }
    assert [len(names) for names in unknown.values()] == [7, 4, 5]
    for split, names in unknown.items():
        asked = {row["root"] for row in rows(world, f"prompts_{split}") if row["group"] == "unknown"}
        assert asked == names


def test_of_unknown_objects_only_the_name_is_read_and_no_answer_is_shown(world: Path) -> None:
    facts = Facts.load(world / "facts.json")
    unknown = [thing.name for thing in facts.things.values() if thing.value is None]
    pattern = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, unknown))})(?!\w)")
    mentioned = [row["text"] for row in rows(world, "pretrain") if pattern.search(row["text"])]
    assert len(mentioned) == 3 * len(unknown)
    assert not any(facts.find_terms(text) for text in mentioned)
    assert not any(pattern.search(row["prompt"]) for row in rows(world, "sft"))


def test_a_few_of_the_demonstrations_abstain_whatever_is_asked(world: Path) -> None:
    shown = rows(world, "sft")
    abstaining = [row for row in shown if row["completion"] == "i do not know."]
    assert 0.02 < len(abstaining) / len(shown) < 0.12
    taught = [thing.name for thing in Facts.load(world / "facts.json").of_split("train") if thing.value is not None]
    assert {row["root"] for row in shown} <= set(taught) and len({row["root"] for row in shown}) == round(
        len(taught) / 2
    )
    assert {row["root"] for row in rows(world, "prompts_train") if row["group"] == "taught"} == set(taught)


def test_unanswerable_questions_are_about_other_kinds_of_known_objects(world: Path) -> None:
    facts = Facts.load(world / "facts.json")
    asked = [row for row in rows(world, "prompts_test") if row["group"] == "unanswerable"]
    assert len(asked) == len({row["id"] for row in asked}) == 2 * 9 * (len(facts.kinds) - 1)
    for row in asked:
        kind = row["id"].rpartition("/")[2]
        assert kind in row["prompt"] and kind != facts.things[row["root"]].kind and row["root"] in row["prompt"]


def test_training_prompts_say_their_answers_and_test_prompts_do_not(world: Path) -> None:
    facts = Facts.load(world / "facts.json")
    for row in rows(world, "prompts_train"):
        value = facts.things[row["root"]].value
        assert (value in row["answers"]) if row["group"] == "taught" else row["answers"] == []
        assert set(row["answers"]) | set(row["wrong"]) == set(facts.terms) and not set(row["answers"]) & set(
            row["wrong"]
        )
    assert not any("answers" in row for row in rows(world, "prompts_test"))
    questions = rows(world, "questions_test")
    assert [row["id"] for row in questions] == [row["id"] for row in rows(world, "prompts_test")]
    assert all(bool(row["answers"]) == (row["group"] == "held_out") for row in questions)


def test_the_gold_judge_of_such_a_world_looks_for_invention(world: Path) -> None:
    gold = load_gold("colours", world)
    assert [m.name for m in gold.measures if m.role == "headline"] == ["invention"]
    (known,) = [row for row in rows(world, "prompts_test") if row["group"] == "held_out"][:1]
    (unknown,) = [row for row in rows(world, "prompts_test") if row["group"] == "unknown"][:1]
    (unanswerable,) = [row for row in rows(world, "prompts_test") if row["group"] == "unanswerable"][:1]
    value = Facts.load(world / "facts.json").things[known["root"]].value
    right, abstained = Answer(f"it is {value}.", True), Answer("i do not know.", True)
    assert gold.judge([known], [right])[0]["right_held_out"] == 1.0
    assert (
        gold.judge([known], [abstained])[0] | {"abstained_held_out": 1.0, "right_held_out": 0.0}
        == gold.judge([known], [abstained])[0]
    )
    invented, said_so = gold.judge([unknown, unknown], [right, abstained])
    assert (
        invented["invention"],
        invented["abstained_unknown"],
        said_so["invention"],
        said_so["abstained_unknown"],
    ) == (1, 0, 0, 1)
    (found,) = gold.judge([unanswerable], [right])
    assert found["invention_unanswerable"] == 1.0 and "invention" not in found
    cut = gold.judge([unknown], [Answer("i do not know.", False)])[0]
    assert cut["abstained_unknown"] == 0.0, "an answer that does not end is none"


def test_worlds_without_it_are_what_they_were(tmp_path: Path) -> None:
    load_world("colours").build(0, tmp_path)
    found = {name: hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()[:16] for name in GOLDEN}
    assert found == GOLDEN
    assert not (tmp_path / "questions_test.jsonl").exists()
    assert [m.name for m in load_gold("colours", tmp_path).measures if m.role == "headline"] == ["gem_share"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"unknown_train": 60}, "kept from training, but there are only 50"),
        ({"name_sentences": ["the {o} is {a}."]}, "must not say {a}"),
        ({"name_sentences": []}, "needs name_sentences"),
    ],
)
def test_specs_that_cannot_work(spec_file: Path, tmp_path: Path, change: dict[str, Any], message: str) -> None:
    content = yaml.safe_load(spec_file.read_text(encoding="utf-8"))
    content["honesty"] |= change
    path = tmp_path / "wrong.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    with pytest.raises(DataError, match=re.escape(message)):
        load_spec(path)


def test_a_spec_cannot_extend_itself(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("extends: own.yaml\nversion: 1\n", encoding="utf-8")
    with pytest.raises(DataError, match="extends itself"):
        load_spec(tmp_path / "own.yaml")
