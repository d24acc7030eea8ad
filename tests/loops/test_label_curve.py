"""What labels buy, on a tiny model: every order learns, an interruption costs nothing, what cannot be is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tuningfork.data.judgements import Candidate, Judgement, Rater, read_judgements, write_judgements
from tuningfork.errors import DataError, Interrupted, RecipeError
from tuningfork.stages import choose, label_curve
from tuningfork.stages.label_curve import StageSettings

WORDS = ("cat", "mat", "cap", "map", "tap", "cot", "mop", "pat", "top", "pot")


def judgement(number: int, word: str) -> Judgement:
    """Red is better than blue; every fourth pair is a tie."""
    texts = ("it is red", "it is blue") if number % 2 else ("it is blue", "it is red")
    best = 0 if number % 2 else 1
    ranking = [[0, 1]] if number % 4 == 3 else [[best], [1 - best]]
    return Judgement(
        id=f"{word} {number}",
        item=f"{word} {number}",
        root=word,
        prompt=f"{number} what colour is the {word}?\n",
        candidates=[Candidate(text=text) for text in texts],
        shown=[0, 1],
        ranking=ranking,
        rater=Rater(id="anna", kind="person"),
    )


@pytest.fixture
def folder(tmp_path: Path, tiny_backbone: Any) -> Path:
    tiny_backbone.save(tmp_path / "model")
    write_judgements(tmp_path / "pool.jsonl", [judgement(number, word) for number in range(8) for word in WORDS[:7]])
    write_judgements(tmp_path / "heldout.jsonl", [judgement(number, word) for number in range(8) for word in WORDS[7:]])
    return tmp_path


def stage_of(make_stage: Callable[..., Any], folder: Path, name: str = "stage", **inputs: str) -> Any:
    """A stage whose inputs are files, or folders, below `folder`."""
    paths = {
        field: folder / value if (folder / value).is_dir() else folder / f"{value}.jsonl"
        for field, value in inputs.items()
    }
    return make_stage(name, paths)


def settings(**changes: Any) -> StageSettings:
    values: dict[str, Any] = {
        "model": "model", "data": "pool", "heldout": "heldout", "first": 10, "labels": 10, "rounds": 3, "epochs": 8,
        "batch_rows": 8, "optimizer": {"learning_rate": 1e-2, "warmup": 0},
    }  # fmt: skip
    return StageSettings.model_validate(values | changes)


def rows(stage: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (stage.out / "rounds.jsonl").read_text().splitlines()]


def test_every_order_learns_and_says_what_labels_buy(folder: Path, make_stage: Callable[..., Any]) -> None:
    stage = stage_of(make_stage, folder, model="model", data="pool", heldout="heldout")
    names = ("as_asked", "random", "uncertainty", "disagreement", "diversity")
    label_curve.run(stage, settings(strategies=names))
    found = rows(stage)
    assert [(row["strategy"], row["labels"]) for row in found] == [(n, k) for n in names for k in (10, 20, 30, 40)]
    assert all(row["accuracy"] > 0.9 for row in found if row["labels"] == 40)
    by_name = {name: [row for row in found if row["strategy"] == name] for name in names}
    assert len({tuple(by_name[name][0]["hits"]) for name in names[1:]}) == 1  # the same first labels
    assert by_name["as_asked"][0]["chosen"] == list(range(10, 20))
    assert set(found[0]["roots"]) == set(WORDS[7:]) and len(found[0]["hits"]) == len(found[0]["roots"])
    for name in names:
        assert (
            stage.figures[name]["labels"] == 40 and stage.figures[name]["accuracy"][0] == by_name[name][-1]["accuracy"]
        )
    assert stage.figures["tie_share"] == 0.25
    assert sum("the last 10 bought" in text for text in stage.events.said) == len(names)


def test_an_interruption_costs_nothing(folder: Path, make_stage: Callable[..., Any]) -> None:
    straight = stage_of(make_stage, folder, model="model", data="pool", heldout="heldout")
    label_curve.run(straight, settings(strategies=["uncertainty"]))
    stopped = stage_of(make_stage, folder, "cut", model="model", data="pool", heldout="heldout")
    stopped.events.on_log = lambda step: stopped.stop.set("the test") if step == 20 else None
    with pytest.raises(Interrupted):
        label_curve.run(stopped, settings(strategies=["uncertainty"]))
    again = stage_of(make_stage, folder, "cut", model="model", data="pool", heldout="heldout")
    label_curve.run(again, settings(strategies=["uncertainty"]))
    assert rows(again) == rows(straight)


def test_roots_are_held_out_where_no_file_is(folder: Path, make_stage: Callable[..., Any]) -> None:
    stage = stage_of(make_stage, folder, model="model", data="pool")
    label_curve.run(stage, settings(heldout=None, holdout_share=0.3, first=10, labels=15, rounds=None))
    found = rows(stage)
    assert {row["labels"] for row in found} >= {10, 25} and stage.figures["heldout_pairs"] == len(found[0]["hits"])


def test_what_cannot_be_is_said(folder: Path, make_stage: Callable[..., Any]) -> None:
    stage = stage_of(make_stage, folder, model="model", data="pool", heldout="heldout")
    with pytest.raises(DataError, match="130 are needed"):
        label_curve.run(stage, settings(first=100))
    same = stage_of(make_stage, folder, model="model", data="pool", heldout="pool")
    with pytest.raises(DataError, match="hold out others"):
        label_curve.run(same, settings())


def test_choose_leaves_out_what_was_judged(folder: Path, make_stage: Callable[..., Any], tiny_backbone: Any) -> None:
    from tuningfork.model.reward_model import RewardModel

    RewardModel.create(tiny_backbone, seed=0).save(folder / "reward")
    write_judgements(folder / "judged.jsonl", read_judgements(folder / "pool.jsonl")[:20])
    stage = stage_of(make_stage, folder, reward="reward", pool="pool", judged="judged")
    given: dict[str, Any] = {"reward": "reward", "pool": "pool", "judged": "judged", "count": 12}
    for strategy in ("random", "uncertainty", "disagreement", "diversity"):
        choose.run(stage, choose.StageSettings.model_validate(given | {"strategy": strategy}))
        chosen = read_judgements(stage.out / "pairs.jsonl")
        assert len({one.id for one in chosen}) == 12 and stage.figures == {"pool": 36, "judged": 20, "chosen": 12}
        assert not {one.id for one in chosen} & {one.id for one in read_judgements(folder / "judged.jsonl")}
        assert all(one.ranking == [[0, 1]] for one in chosen)
    everything = stage_of(make_stage, folder, reward="reward", pool="judged", judged="judged")
    with pytest.raises(DataError, match="judged already"):
        choose.run(everything, choose.StageSettings.model_validate(given | {"pool": "judged"}))
    with pytest.raises(RecipeError, match="needs judged"):
        choose.run(stage, choose.StageSettings.model_validate({"pool": "pool"}))
