"""The stages `best_of` and `rejection` on a tiny model, and the SFT that follows."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tuningfork.errors import DataError, RecipeError
from tuningfork.methods.best_of import expected_best, kl_bound
from tuningfork.stages import best_of, rejection

WORDS = ("cat", "mat", "cap", "map", "hat", "rat", "lap")
PROMPTS = [{"id": f"p{n}", "prompt": f"what colour is the {word}?\n", "root": word} for n, word in enumerate(WORDS)]
REWARD = """
def score(prompt, response, metadata):
    if metadata["root"] == "lap":
        return None
    return sum(c in "acegikmo" for c in response.lower()) / (1 + len(response))
"""


@pytest.fixture
def folder(tmp_path: Path, tiny_backbone: Any) -> Path:
    """A model that has learnt to end its answers, prompts, and a reward that likes some letters."""
    import torch

    with torch.no_grad():
        tiny_backbone.model.get_output_embeddings().weight[tiny_backbone.eos_id] *= 4
    tiny_backbone.save(tmp_path / "model")
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in PROMPTS))
    (tmp_path / "reward.py").write_text(REWARD)
    return tmp_path


def stage_for(make_stage: Callable[..., Any], folder: Path, name: str, **inputs: Path) -> Any:
    known = {"policy": folder / "model", "prompts": folder / "prompts.jsonl", "reward.function": folder / "reward.py"}
    return make_stage(name, known | {key.replace("__", "."): value for key, value in inputs.items()})


def shared(folder: Path) -> dict[str, Any]:
    return {
        "policy": str(folder / "model"),
        "prompts": str(folder / "prompts.jsonl"),
        "reward": {"name": "function", "function": f"{folder / 'reward.py'}:score", "max_unscorable": 1.0},
        "sampling": {"max_new_tokens": 8},
    }


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def letters(text: str) -> float:
    return sum(c in "acegikmo" for c in text.lower()) / (1 + len(text))


class Gold:
    """Measures length, on some prompts only."""

    def judge(self, rows: Any, answers: Any) -> list[dict[str, float]]:
        return [{"long": float(len(a.text))} if r["root"] != "cat" else {} for r, a in zip(rows, answers, strict=True)]


def test_the_curve_over_n(make_stage: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tuningfork.evals.answers import make_prompts, to_answers
    from tuningfork.model.loading import load_backbone
    from tuningfork.randomness import derive_seed
    from tuningfork.rollout.rollout import sample
    from tuningfork.rollout.sampler import LocalEngine
    from tuningfork.rollout.settings import SamplingSettings
    from tuningfork.runtime import Runtime

    monkeypatch.setattr("tuningfork.evals.gold.load_gold", lambda name, path: Gold())
    given = shared(folder) | {"samples": 6, "gold": {"name": "any", "truth": str(folder)}}
    stage = stage_for(make_stage, folder, "curve", gold__truth=folder)
    best_of.run(stage, best_of.StageSettings.model_validate(given))
    rows = stage.events.rows
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert [row["kl_bound"] for row in rows] == [kl_bound(n) for n in range(1, 7)]
    scores = [row["score_mean"] for row in rows]
    assert all(b >= a for a, b in pairwise(scores)) and scores[-1] > scores[0] + 0.02
    assert stage.figures["prompts"] == 6 and stage.figures["prompts_left_out"] == 1
    # the same samples, drawn and scored once more from outside
    backbone = load_backbone(str(folder / "model"), Runtime("cpu", "fp32", 1))
    rollouts = sample(
        LocalEngine(backbone),
        make_prompts(backbone, PROMPTS[:6]),
        SamplingSettings(max_new_tokens=8),
        seed=derive_seed(0, "rl", "best of"),
        num_samples=6,
    )
    texts = [answer.text for answer in to_answers(backbone, rollouts)]
    groups = [texts[start : start + 6] for start in range(0, 36, 6)]
    for n in (1, 3, 6):
        expected = sum(expected_best([letters(t) for t in group], n) for group in groups) / 6
        assert scores[n - 1] == pytest.approx(expected, abs=1e-12)
        judged = [expected_best([letters(t) for t in g], n, [float(len(t)) for t in g]) for g in groups[1:]]
        assert rows[n - 1]["gold/long"] == pytest.approx(sum(judged) / 5)
    found = stage.figures["score"]
    assert (found["one"], found["best"]) == (pytest.approx(scores[0]), pytest.approx(scores[5]))
    low, high = found["ci95"]
    assert 0 < low <= found["difference"] <= high
    samples = rows_of(stage.out / "samples.jsonl")
    assert len(samples) == 6
    for row, group in zip(samples, groups, strict=True):
        assert row["score"] == pytest.approx(max(map(letters, group))) and letters(row["response"]) == row["score"]


def test_a_reward_that_scores_nothing_is_refused(make_stage: Any, folder: Path) -> None:
    (folder / "reward.py").write_text("def score(prompt, response, metadata):\n    return None\n")
    given = shared(folder)
    with pytest.raises(DataError, match="no prompt has 2 responses with a score"):
        best_of.run(stage_for(make_stage, folder, "none"), best_of.StageSettings.model_validate(given | {"samples": 2}))


def select(
    make_stage: Any, folder: Path, name: str, pool: Path | None = None, policy: Path | None = None, **changes: Any
) -> Any:
    """The stage `rejection`, run."""
    inputs = ({} if pool is None else {"pool": pool}) | ({} if policy is None else {"policy": policy})
    stage = stage_for(make_stage, folder, name, **inputs)
    given = shared(folder) | {"samples_per_prompt": 6} | changes | {key: str(path) for key, path in inputs.items()}
    rejection.run(stage, rejection.StageSettings.model_validate(given))
    return stage


def test_cut_responses_take_part_where_they_are_wanted(make_stage: Any, folder: Path) -> None:
    without, with_cut = (select(make_stage, folder, f"cut {keep}", keep_cut=keep).figures for keep in (False, True))
    assert with_cut["dropped_cut"] == 0 < without["dropped_cut"]
    assert with_cut["candidates"] > without["candidates"] and with_cut["sampled"] == without["sampled"]


def test_the_best_of_each_prompt_becomes_a_demonstration(make_stage: Any, folder: Path) -> None:
    stage = select(make_stage, folder, "raft")
    pool, kept = rows_of(stage.out / "candidates.jsonl"), rows_of(stage.out / "demonstrations.jsonl")
    figures = stage.figures
    assert figures["sampled"] == 42 and 0 < figures["dropped_cut"] < 42 and figures["dropped_unscorable"] > 0
    counted = figures["dropped_cut"] + figures["dropped_unscorable"] + figures["dropped_empty"]
    assert figures["sampled"] - counted - figures["dropped_repeated"] == len(pool) == figures["candidates"]
    by_prompt: dict[str, list[dict[str, Any]]] = {}
    for row in pool:
        assert row["score"] == pytest.approx(letters(row["completion"])) and row["round"] == 1
        by_prompt.setdefault(row["id"], []).append(row)
    assert len({(row["id"], row["completion"]) for row in pool}) == len(pool)
    assert {row["id"] for row in kept} == {id for id, rows in by_prompt.items() if len({r["score"] for r in rows}) > 1}
    for row in kept:
        assert row["score"] == max(other["score"] for other in by_prompt[row["id"]])
    assert figures["kept"] == len(kept) and figures["score_kept"] > figures["score_pool"] and stage.gates[0].passed


def test_a_pool_keeps_what_was_good_before(make_stage: Any, folder: Path) -> None:
    first = select(make_stage, folder, "one")
    second = select(make_stage, folder, "two", first.out / "candidates.jsonl")
    pool = rows_of(second.out / "candidates.jsonl")
    assert {row["round"] for row in pool} == {1, 2}
    old = {(row["id"], row["completion"]) for row in rows_of(first.out / "candidates.jsonl")}
    assert old <= {(row["id"], row["completion"]) for row in pool if row["round"] == 1}
    assert second.figures["kept_of_earlier_rounds"] > 0
    best = {row["id"]: row["score"] for row in rows_of(second.out / "demonstrations.jsonl")}
    assert all(best[row["id"]] >= row["score"] for row in rows_of(first.out / "demonstrations.jsonl"))


def test_improve_steps_raise_the_threshold_over_one_pool(make_stage: Any, folder: Path) -> None:
    grown = select(make_stage, folder, "grow", select={"name": "rest", "threshold": 0.2, "most": 6})
    pool = grown.out / "candidates.jsonl"
    kept = [rows_of(grown.out / "demonstrations.jsonl")]
    for threshold in (0.5, 0.8):
        rule = {"name": "rest", "threshold": threshold, "most": 6}
        stage = select(make_stage, folder, f"improve {threshold}", pool, samples_per_prompt=0, select=rule)
        assert "sampled" not in stage.figures
        assert (stage.out / "candidates.jsonl").read_text() == pool.read_text()
        kept.append(rows_of(stage.out / "demonstrations.jsonl"))
    texts = [{(row["id"], row["completion"]) for row in rows} for rows in kept]
    assert texts[0] > texts[1] > texts[2] and texts[2]


def test_statistical_rejection_sampling_draws_by_seed_and_prompt(make_stage: Any, folder: Path) -> None:
    rule = {"name": "statistical", "beta": 0.1, "keep": 2}
    first = select(make_stage, folder, "first", select=rule)
    again = select(make_stage, folder, "again", select=rule, chunk=6)
    kept = rows_of(first.out / "demonstrations.jsonl")
    assert kept == rows_of(again.out / "demonstrations.jsonl")
    counts = [sum(row["id"] == id for row in kept) for id in {row["id"] for row in kept}]
    assert max(counts) == 2 and first.figures["kept"] == len(kept)


def test_a_pool_of_another_reward_is_refused(make_stage: Any, folder: Path) -> None:
    first = select(make_stage, folder, "one")
    other = shared(folder)["reward"] | {"max_unscorable": 0.4}
    with pytest.raises(RecipeError, match="was scored by another reward"):
        select(make_stage, folder, "two", first.out / "candidates.jsonl", reward=other)


def test_nothing_to_select_from_is_refused(make_stage: Any, folder: Path) -> None:
    with pytest.raises(RecipeError, match="0 leaves nothing to select from"):
        select(make_stage, folder, "none", samples_per_prompt=0)


def test_too_few_demonstrations_fail_the_gate(make_stage: Any, folder: Path) -> None:
    stage = select(make_stage, folder, "few", minimum=100)
    assert [gate.passed for gate in stage.gates] == [False] and "(at least 100)" in stage.gates[0].message


def test_what_is_selected_can_be_learnt(make_stage: Any, folder: Path) -> None:
    from tuningfork.stages import sft

    selected = select(make_stage, folder, "select", samples_per_prompt=16)
    data = selected.out / "demonstrations.jsonl"
    stage = make_stage("sft", {"model": folder / "model", "data": data})
    given = {"model": str(folder / "model"), "data": str(data), "steps": 40, "batch_rows": 6}
    sft.run(stage, sft.StageSettings.model_validate(given | {"optimizer": {"learning_rate": 1e-2}}))
    assert stage.figures["demonstrations"] == selected.figures["kept"]
    before = selected.figures["score_pool"]
    after = select(make_stage, folder, "after", policy=stage.out / "model", samples_per_prompt=16).figures["score_pool"]
    assert after > before + 0.02, "what was kept scores more, and so do answers learnt from it"
