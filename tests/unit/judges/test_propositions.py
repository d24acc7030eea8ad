"""Propositions as reward, and the stage that fits their weights to rankings."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from tuningfork.asking.labels import label_logprobs
from tuningfork.errors import DataError
from tuningfork.judges.propositions import load_propositions, load_weights, save_weights
from tuningfork.reward.base import Item
from tuningfork.reward.kinds import propositions as kind
from tuningfork.runtime import Runtime
from tuningfork.stages import propositions

Make = Callable[..., Any]
CONTENT: dict[str, Any] = {
    "question": "$prompt $response $proposition",
    "labels": ["cat", "mat"],
    "propositions": {"kind": {"says": "red", "weight": 2}, "long": {"says": "blue"}},
}


def write(folder: Path, **changes: Any) -> Path:
    path = folder / "p.yaml"
    path.write_text(yaml.safe_dump(CONTENT | changes, sort_keys=False))
    return path


def test_the_score_is_the_weighted_sum_of_what_a_model_finds_probable(tmp_path: Path, tiny_backbone: Any) -> None:
    found = load_propositions(write(tmp_path))
    settings = kind.Settings(propositions="p", model="m", asked_in="text")
    runtime = Runtime("cpu", "fp32", 1)
    reward = kind.PropositionReward(found, {"kind": 2.0, "long": -3.0}, tiny_backbone, runtime, settings)
    (score,) = reward.score([Item("the? ", " it is red.")])
    for name, says in (("kind", "red"), ("long", "blue")):
        ids = [*tiny_backbone.start_ids, *tiny_backbone.encode([f"the? it is red. {says}"])[0]]
        (told,) = label_logprobs(tiny_backbone, [ids], [("cat", "mat")], runtime)
        p = math.exp(told["cat"]) / (math.exp(told["cat"]) + math.exp(told["mat"]))
        assert score.parts[name] == pytest.approx(p, rel=1e-5)
    assert score.total == pytest.approx(2 * score.parts["kind"] - 3 * score.parts["long"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"question": "$prompt $response"}, r"needs \$prompt, \$response and \$proposition"),
        ({"labels": ["yes", "yes"]}, "two different"),
        ({"propositions": {}}, "propositions"),
        ({"propositions": {"a": {"said": "x"}}}, "a.says: Field required"),
    ],
)
def test_a_file_that_holds_no_propositions_is_refused(tmp_path: Path, changes: Any, message: str) -> None:
    with pytest.raises(DataError, match=f"p.yaml: .*{message}"):
        load_propositions(write(tmp_path, **changes))


def test_weights_are_read_for_just_these_propositions(tmp_path: Path) -> None:
    save_weights(tmp_path / "w.json", {"kind": 1.5, "long": 0.0})
    assert load_weights(tmp_path / "w.json", ["long", "kind"]) == {"kind": 1.5, "long": 0.0}
    with pytest.raises(DataError, match="weights of kind, long, but the propositions are kind"):
        load_weights(tmp_path / "w.json", ["kind"])
    (tmp_path / "w.json").write_text("[]")
    with pytest.raises(DataError, match="not the weights"):
        load_weights(tmp_path / "w.json", ["kind"])


class Planted(kind.PropositionReward):
    """Finds an answer kind with .9 where it says so, long by its number of words; noise has no meaning."""

    def __init__(self) -> None:
        self.weights = {"kind": 0.0, "long": 0.0, "noise": 0.0}

    def probabilities(self, name: str, items: Sequence[Item]) -> list[float]:
        value = {
            "kind": lambda text: 0.9 if "please" in text else 0.1,
            "long": lambda text: min(1.0, len(text.split()) / 10),
            "noise": lambda text: (sum(map(ord, text)) * 7919 % 1000) / 1000,
        }[name]
        return [value(item.response) for item in items]


def fit(make_stage: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str = "stage", **changes: Any) -> Any:
    """Kind answers are chosen; the base likes long ones, which are as often the rejected ones."""
    rows = [
        {"prompt": f"{n}?", "chosen": "please " + "ok " * (n % 5), "rejected": "no " * (1 + (n * 3) % 7) + str(n)}
        for n in range(60)
    ]
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.setattr(kind, "load", lambda settings, sources: Planted())
    stage = make_stage(name, {"data": tmp_path / "data.jsonl"})
    values = {"by": {"propositions": "p", "model": "m"}, "data": "d", **changes}
    propositions.run(stage, propositions.StageSettings.model_validate(values))
    return stage


def test_fitted_weights_order_what_was_held_out(
    make_stage: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = fit(make_stage, tmp_path, monkeypatch)
    weights = load_weights(stage.out / "weights.json", ["kind", "long", "noise"])
    assert weights["kind"] > 1 > abs(weights["noise"]) and stage.figures["accuracy"] == 1.0
    assert stage.figures["comparisons"] + stage.figures["heldout_comparisons"] == 60 and stage.gates[0].passed
    base = {"name": "length", "at_least": 40}
    beside = fit(make_stage, tmp_path, monkeypatch, "beside", base=base, minimum_accuracy=0.8)
    assert beside.figures["accuracy_of_base"] < 0.8 < beside.figures["accuracy"] and beside.gates[0].passed
    assert "the base alone" in beside.gates[0].message


def test_one_root_leaves_nothing_to_measure_on(
    make_stage: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataError, match="give rankings of more roots"):
        fit(make_stage, tmp_path, monkeypatch, holdout_share=0.0001)
