"""The monitor of `rl` over demonstrations and preferences, and budgets in all three stages: one measure for all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tuningfork.data.judgements import Judgement
from tuningfork.errors import RecipeError
from tuningfork.reward.base import Item, Score
from tuningfork.reward.rater import RewardRater
from tuningfork.stages import pairs, preference, rl, sft

WORDS = ("cat", "mat", "cap", "map", "tap", "cot", "mop", "pat")
VOWELS = (
    "def score(prompt, response, metadata):\n"
    "    return sum(c in 'acegikmo' for c in response.lower()) / (1 + len(response))\n"
)
LORA = {"kind": "lora", "r": 4, "targets": ["all", "head"]}
OPTIMIZER = {"learning_rate": 1e-2, "schedule": "constant", "warmup": 0}
SAMPLING = {"max_new_tokens": 6}


@pytest.fixture
def folder(tmp_path: Path, tiny_backbone: Any) -> Path:
    tiny_backbone.save(tmp_path / "model")
    (tmp_path / "reward.py").write_text(VOWELS)
    rows = [{"id": word, "root": word, "prompt": f"what colour is the {word}?\n"} for word in WORDS]
    write(tmp_path / "prompts.jsonl", rows)
    write(tmp_path / "pairs.jsonl", [row | {"chosen": "it is red", "rejected": "it is blue"} for row in rows])
    write(tmp_path / "answers.jsonl", [row | {"completion": "it is red"} for row in rows])
    return tmp_path


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def reward(folder: Path) -> dict[str, Any]:
    return {"name": "function", "function": f"{folder / 'reward.py'}:score"}


def watch(folder: Path, **more: Any) -> dict[str, Any]:
    return {"prompts": str(folder / "prompts.jsonl"), "reward": reward(folder), "sampling": SAMPLING, **more}


def run(make_stage: Any, folder: Path, kind: str, name: str = "", **changes: Any) -> Any:
    """One of the three stages on the tiny model."""
    common = {"adapter": LORA, "optimizer": OPTIMIZER}
    values: dict[str, dict[str, Any]] = {
        "sft": {"data": str(folder / "answers.jsonl"), "batch_rows": 4},
        "preference": {
            "data": str(folder / "pairs.jsonl"),
            "batch_rows": 4,
            "holdout_share": 0.3,
            "minimum_accuracy": 0,
            "sampling": SAMPLING,
        },
        "rl": {
            "policy": str(folder / "model"),
            "prompts": str(folder / "prompts.jsonl"),
            "reward": reward(folder),
            "prompts_per_iteration": 4,
            "scale_reward": {"samples": 8},
            "shaping": {"missing_eos_score": None},
            "rehearsal": None,
            "sampling": SAMPLING,
        },
    }
    data = folder / ("answers.jsonl" if kind == "sft" else "pairs.jsonl")
    inputs = {"model": folder / "model", "policy": folder / "model", "data": data, "prompts": folder / "prompts.jsonl"}
    inputs |= dict.fromkeys(("reward.function", "monitor.reward.function"), folder / "reward.py")
    stage = make_stage(name or kind, inputs | {"monitor.prompts": folder / "prompts.jsonl"})
    module = {"sft": sft, "preference": preference, "rl": rl}[kind]
    module.run(stage, module.StageSettings.model_validate(common | values[kind] | changes))
    return stage


def looks(stage: Any) -> list[dict[str, Any]]:
    return [row for row in stage.events.rows if "monitor/kl" in row]


def test_the_start_is_the_same_whatever_trains(make_stage: Any, folder: Path) -> None:
    found = [
        run(make_stage, folder, "sft", steps=4, monitor=watch(folder, every=2)),
        run(make_stage, folder, "preference", epochs=2, monitor=watch(folder, every=2)),
        run(make_stage, folder, "rl", iterations=2, monitor={"prompts": str(folder / "prompts.jsonl"), "every": 1}),
    ]
    starts = [looks(stage)[0] for stage in found]
    assert starts[0] == starts[1] == starts[2] and starts[0]["monitor/kl"] == pytest.approx(0, abs=1e-5)
    for stage in found:
        assert all(row["monitor/kl"] != 0 for row in looks(stage)[1:]) and len(looks(stage)) >= 3


def test_a_watch_changes_no_bit(make_stage: Any, folder: Path) -> None:
    for kind, length in (("sft", {"steps": 4}), ("preference", {"epochs": 2})):
        plain = run(make_stage, folder, kind, f"{kind} plain", **length)
        seen = run(make_stage, folder, kind, f"{kind} seen", monitor=watch(folder, every=1), **length)
        first, second = ((stage.out / "model/model.safetensors").read_bytes() for stage in (plain, seen))
        assert first == second, kind


def test_without_a_reward_there_is_no_score(make_stage: Any, folder: Path) -> None:
    stage = run(make_stage, folder, "sft", steps=2, monitor=watch(folder, every=1) | {"reward": None})
    assert looks(stage) and not any("monitor/score_mean" in row for row in stage.events.rows)


def test_a_kl_budget_ends_preferences_too(make_stage: Any, folder: Path) -> None:
    stage = run(make_stage, folder, "preference", epochs=40, monitor=watch(folder, every=1, kl_budget=0.05))
    last = looks(stage)[-1]
    assert last["monitor/kl"] > 0.05 and stage.figures["stopped_at_step"] == last["step"] < 40
    assert all(row["monitor/kl"] <= 0.05 for row in looks(stage)[:-1])


@pytest.mark.parametrize("kind", ["sft", "preference", "rl"])
def test_a_stage_spends_its_budget(make_stage: Any, folder: Path, kind: str) -> None:
    monitor = (
        watch(folder, shares=[0.5]) if kind != "rl" else {"prompts": str(folder / "prompts.jsonl"), "shares": [0.5]}
    )
    stage = run(make_stage, folder, kind, budget=0.3, monitor=monitor)
    assert 0.3 <= stage.figures["spent_seconds"] < 3
    steps = [row for row in stage.events.rows if "spent" in row]
    assert len(steps) == stage.figures["optimizer_steps"] and steps[-1]["spent"] == stage.figures["spent_seconds"]
    assert looks(stage)[0]["step"] == 0 and looks(stage)[-1]["step"] == steps[-1]["step"]


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("sft", {"steps": 3, "budget": 1}, "no effect with a budget"),
        ("sft", {"spent_before": "rejection"}, "no effect without a budget"),
        ("preference", {"epochs": 2, "budget": 1}, "no effect with a budget"),
        ("rl", {"iterations": 3, "budget": 1}, "no effect with a budget"),
        ("rl", {"budget": 1, "kl": {"target": 2}}, "with a budget the number of episodes is not known"),
        ("rl", {"iterations": 1, "monitor": {"shares": [0.5]}}, "they are shares of a budget"),
        ("rl", {"budget": 1, "monitor": {"shares": [0.5], "every": 2}}, "give either every or shares"),
    ],
)
def test_settings_without_effect(
    make_stage: Any, folder: Path, kind: str, changes: dict[str, Any], message: str
) -> None:
    if "monitor" in changes:
        changes = changes | {"monitor": {"prompts": str(folder / "prompts.jsonl"), **changes["monitor"]}}
    with pytest.raises((RecipeError, ValidationError), match=message):
        run(make_stage, folder, kind, **changes)


class Lengths:
    """Longer answers score higher; an empty one not at all."""

    def score(self, items: list[Item]) -> list[Score]:
        return [Score(float(len(item.response)) if item.response else None, {}) for item in items]


def test_a_rater_of_a_reward_errs_as_often_as_bradley_and_terry_say() -> None:
    rater = RewardRater(Lengths(), seed=0, temperature=2.0)  # pyright: ignore[reportArgumentType]
    short, long, empty = (Item("p", text, {}) for text in ("aaaa", "aaaaaa", ""))
    rater.read([short, long, empty])
    chosen = [rater.compare(f"item {n}", long, short) for n in range(4000)]
    assert chosen.count("a") / 4000 == pytest.approx(0.7311, abs=0.02)  # sigmoid((6 - 4) / 2)
    assert chosen == [rater.compare(f"item {n}", long, short) for n in range(4000)], "one draw a comparison"
    assert rater.compare("x", empty, short) == "tie"


@pytest.mark.parametrize("keep_cut", [False, True])
def test_pairs_by_a_reward_and_the_answers_chosen(make_stage: Any, folder: Path, keep_cut: bool) -> None:
    import re

    values = {
        "draws": [{"samples": 4, "sampling": {"max_new_tokens": 40}}],
        "pairs": 12,
        "rater": {"reward": reward(folder), "temperature": 0.01},
        "keep_cut": keep_cut,
    }
    stage = make_stage(
        "pairs",
        {"model": folder / "model", "prompts": folder / "prompts.jsonl", "rater.reward.function": folder / "reward.py"},
    )
    pairs.run(stage, pairs.StageSettings.model_validate({"prompts": "x"} | values))
    lines = (stage.out / "judgements.jsonl").read_text().splitlines()
    found = [Judgement.model_validate_json(line) for line in lines]
    assert len(found) >= 10 and {one.rater.kind for one in found} == {"model"}

    def vowels(text: str) -> float:
        return len(re.findall("[acegikmo]", text.lower())) / (1 + len(text))

    margins = [vowels(j.candidates[a].text) - vowels(j.candidates[b].text) for j in found for a, b in j.pairs()]
    assert sum(margin >= 0 for margin in margins) >= len(margins) - 1, "nearly without error at so low a temperature"
    best = [(j.item, j.candidates[a]) for j in found for a, _ in j.pairs() if j.candidates[a].text.strip()]
    assert {one.has_ended for _, one in best} == {True, False}
    wanted = {(item, one.text) for item, one in best if one.has_ended or keep_cut}
    chosen = [json.loads(line) for line in (stage.out / "chosen.jsonl").read_text().splitlines()]
    assert {(row["id"], row["completion"]) for row in chosen} == wanted and len(chosen) == len(wanted)
