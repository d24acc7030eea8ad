"""The monitor of an RL run: the best weights kept, the KL budget, warnings; and all of it after a cut."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tuningfork.errors import Interrupted, RecipeError, RunError
from tuningfork.evals.gold import Answer, GoldMeasure
from tuningfork.stage import ResolvedInput
from tuningfork.stages import rl
from tuningfork.stages.rl import StageSettings

PROMPTS = [
    {"id": f"p{n}", "prompt": f"what colour is the {word}?\n", "root": word}
    for n, word in enumerate(("cat", "mat", "cap", "map"))
]
VOWELS = (
    "def score(prompt, response, metadata):\n"
    "    return sum(c in 'acegikmo' for c in response.lower()) / (1 + len(response))\n"
)


@pytest.fixture
def folder(tmp_path: Path, tiny_backbone: Any) -> Path:
    tiny_backbone.save(tmp_path / "model")
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in PROMPTS))
    (tmp_path / "reward.py").write_text(VOWELS)
    return tmp_path


def settings(folder: Path, monitor: dict[str, Any] | None, **changes: Any) -> StageSettings:
    values: dict[str, Any] = {
        "policy": str(folder / "model"),
        "prompts": str(folder / "prompts.jsonl"),
        "reward": {"name": "function", "function": f"{folder / 'reward.py'}:score"},
        "method": {"name": "ppo", "epochs": 2},
        "adapter": {"kind": "lora", "r": 4, "targets": ["all", "head"]},
        "iterations": 8,
        "prompts_per_iteration": 4,
        "samples_per_prompt": 8,
        "sampling": {"max_new_tokens": 6},
        "kl": {"coefficient": 0.01},
        "scale_reward": {"samples": 8},
        "shaping": {"missing_eos_score": None},
        "rehearsal": None,
        "optimizer": {"learning_rate": 1e-2, "schedule": "constant", "warmup": 0, "eps": 1e-5},
        "monitor": {"prompts": str(folder / "prompts.jsonl"), "every": 2, **(monitor or {})},
    }
    if monitor is None:
        del values["monitor"]
    return StageSettings.model_validate(values | changes)


def stage_for(make_stage: Callable[..., Any], folder: Path, name: str) -> Any:
    inputs = {
        "policy": folder / "model",
        "prompts": folder / "prompts.jsonl",
        "reward.function": folder / "reward.py",
        "monitor.prompts": folder / "prompts.jsonl",
        "monitor.truth": folder,
    }
    return make_stage(name, inputs)


def run(make_stage: Callable[..., Any], folder: Path, chosen: StageSettings, name: str = "stage") -> Any:
    stage = stage_for(make_stage, folder, name)
    rl.run(stage, chosen)
    return stage


def weights(stage: Any, name: str = "model.safetensors") -> bytes:
    return (stage.out / "model" / name).read_bytes()


def looks(stage: Any) -> dict[int, dict[str, float]]:
    """Looks while training, by step; the one before it, a row of step 0, is apart."""
    return {row["step"]: row for row in stage.events.rows if "monitor/kl" in row and row["step"]}


def cut_and_resume(make_stage: Any, folder: Path, chosen: StageSettings, at: int, name: str) -> Any:
    stage = stage_for(make_stage, folder, name)
    stage.events.on_log = lambda step: stage.stop.set("test") if step == at else None
    with pytest.raises(Interrupted):
        rl.run(stage, chosen)
    return run(make_stage, folder, chosen, name)


class Gold:
    """Likes answers with few of what the reward likes: the more is optimised, the worse."""

    measures = (
        GoldMeasure("vowels", "guard", "same", "share of rewarded letters"),
        GoldMeasure("plain", "headline", "higher", "share of other letters"),
        GoldMeasure("fancy", "info", "lower", "share of rewarded letters"),
    )

    def judge(self, rows: Any, answers: Sequence[Answer]) -> list[dict[str, float]]:
        shares = [sum(c in "acegikmo" for c in a.text.lower()) / (1 + len(a.text)) for a in answers]
        return [{"plain": 1 - share, "fancy": share} for share in shares]


@pytest.fixture
def gold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuningfork.evals.gold.load_gold", lambda name, folder: Gold())


def test_a_monitor_that_only_looks_changes_no_bit(make_stage: Any, folder: Path) -> None:
    plain = run(make_stage, folder, settings(folder, None), "plain")
    watched = run(make_stage, folder, settings(folder, {"kl_budget": 1e9}), "watched")
    assert weights(watched) == weights(plain)
    assert weights(watched, "value_head.safetensors") == weights(plain, "value_head.safetensors")
    own = [{k: v for k, v in row.items() if "/" not in k and "seconds" not in k} for row in watched.events.rows]
    first, *own = own
    assert first == {"step": 0}
    assert own == [{k: v for k, v in row.items() if "seconds" not in k} for row in plain.events.rows]
    start = watched.events.rows[0]
    assert start["monitor/kl"] == 0 and {"monitor/score_mean", "monitor/distinct_2"} <= start.keys()
    assert sorted(looks(watched)) == [4, 8, 12, 16]
    last = looks(watched)[16]
    assert {"monitor/response_length", "monitor/repetition_3", "monitor/length_warning"} <= last.keys()
    assert "best_step" not in watched.figures and "stopped_at_step" not in watched.figures


def test_the_best_by_gold_is_kept_and_not_the_last(make_stage: Any, folder: Path, gold: None) -> None:
    stage = run(make_stage, folder, settings(folder, {"gold": "any", "truth": str(folder), "keep": "best"}))
    start = json.loads((stage.work / "monitor_start.json").read_text())
    values = {0: start["gold/plain"]} | {step: row["gold/plain"] for step, row in looks(stage).items()}
    best = max(values, key=lambda step: (values[step], -step))
    assert best < 16 and values[16] < values[best], "the reward was optimised against the gold judge"
    assert stage.figures["best_step"] == best and stage.figures["best_value"] == pytest.approx(values[best])
    assert any(
        f"kept the weights after step {best} of 16" in text and "gold plain" in text for text in stage.events.said
    )
    if best == 0:
        from safetensors.torch import load_file

        before, after = (load_file(path / "model.safetensors") for path in (folder / "model", stage.out / "model"))
        assert all(after[name].equal(before[name]) for name in before), "the adapter is as it began: nothing changed"


def test_a_measure_can_be_named_and_lower_can_be_better(make_stage: Any, folder: Path, gold: None) -> None:
    monitor = {"gold": "any", "truth": str(folder), "keep": "best", "gold_measure": "fancy"}
    stage = run(make_stage, folder, settings(folder, monitor, iterations=2))
    start = json.loads((stage.work / "monitor_start.json").read_text())
    values = [start["gold/fancy"], *(row["gold/fancy"] for row in looks(stage).values())]
    assert -stage.figures["best_value"] == pytest.approx(min(values))


@pytest.mark.parametrize("measure", ["vowels", "nothing"])
def test_a_measure_without_a_good_side_is_refused(make_stage: Any, folder: Path, gold: None, measure: str) -> None:
    monitor = {"gold": "any", "truth": str(folder), "keep": "best", "gold_measure": measure}
    with pytest.raises(RecipeError, match=f"no measure '{measure}' with a good direction; it has plain, fancy"):
        run(make_stage, folder, settings(folder, monitor))


def test_without_gold_the_best_is_score_less_the_price_of_kl(make_stage: Any, folder: Path) -> None:
    stage = run(make_stage, folder, settings(folder, {"keep": "best"}, kl={"coefficient": 0.05}))
    mean, deviation = stage.figures["reference_mean"], stage.figures["reference_deviation"]
    start = json.loads((stage.work / "monitor_start.json").read_text())
    values = {
        step: (row["monitor/score_mean"] - mean) / deviation - 0.05 * row["monitor/kl"]
        for step, row in ({0: start} | looks(stage)).items()
    }
    best = max(values, key=values.__getitem__)
    assert stage.figures["best_step"] == best and stage.figures["best_value"] == pytest.approx(values[best])
    assert best > 0, "what is rewarded became more"


@pytest.mark.parametrize("at", [3, 5, 9])
def test_what_is_kept_survives_a_cut(make_stage: Any, folder: Path, gold: None, at: int) -> None:
    chosen = settings(folder, {"gold": "any", "truth": str(folder), "keep": "best"}, iterations=6)
    straight = run(make_stage, folder, chosen, "straight")
    resumed = cut_and_resume(make_stage, folder, chosen, at, "cut")
    assert weights(resumed) == weights(straight)
    assert resumed.figures["best_step"] == straight.figures["best_step"]


SLOW = {"learning_rate": 2e-3, "schedule": "constant", "warmup": 0, "eps": 1e-5}


def budget_between(make_stage: Any, folder: Path) -> tuple[float, int]:
    """A KL that a look after the first is the first one beyond, and the step of that look."""
    chosen = settings(folder, {"every": 1}, optimizer=SLOW)
    kl = {step: row["monitor/kl"] for step, row in looks(run(make_stage, folder, chosen, "free")).items()}
    highest = kl[2]
    for step in (4, 6, 8, 10, 12, 14):
        if step >= 6 and kl[step] > highest:
            return (highest + kl[step]) / 2, step
        highest = max(highest, kl[step])
    raise AssertionError(f"the KL never rises: {kl}")


def test_the_budget_ends_the_run_at_the_first_look_beyond_it(make_stage: Any, folder: Path) -> None:
    budget, end = budget_between(make_stage, folder)
    chosen = settings(folder, {"kl_budget": budget, "every": 1, "keep": "best"}, optimizer=SLOW)
    straight = run(make_stage, folder, chosen, "straight")
    assert straight.figures["stopped_at_step"] == end and straight.events.rows[-1]["step"] == end
    assert any(f"stopped after step {end}" in text and "KL budget" in text for text in straight.events.said)
    assert straight.figures["best_step"] < end, "what is beyond the budget is never the best"
    resumed = cut_and_resume(make_stage, folder, chosen, end - 3, "cut")
    assert weights(resumed) == weights(straight) and resumed.figures["stopped_at_step"] == end
    assert resumed.figures["best_step"] == straight.figures["best_step"]


def test_a_run_cut_after_its_early_end_ends_there_again(make_stage: Any, folder: Path) -> None:
    budget, end = budget_between(make_stage, folder)
    chosen = settings(folder, {"kl_budget": budget, "every": 1}, optimizer=SLOW)
    first = stage_for(make_stage, folder, "late")
    first.events.on_log = lambda step: first.stop.set("test") if step == end else None
    rl.run(first, chosen)
    expected = weights(first)
    again = run(make_stage, folder, chosen, "late")
    assert weights(again) == expected and again.figures["stopped_at_step"] == end
    assert [row["step"] for row in again.events.rows[:2]] == [0, 1], (
        "no checkpoint was written at the end, to go on from"
    )


def test_odd_lengths_and_repetition_are_warned_of(make_stage: Any, folder: Path) -> None:
    stage = run(make_stage, folder, settings(folder, {"length_ratio": (2.0, 3.0), "repetition": 1.0}, iterations=2))
    (row,) = looks(stage).values()
    assert row["monitor/length_warning"] == 1.0 and row["monitor/repetition_warning"] == 0.0
    assert any("times as long as before training (watched: 2 to 3)" in text for text in stage.events.said)


def test_texts_that_begin_to_repeat_are_noticed(make_stage: Any, folder: Path) -> None:
    (folder / "reward.py").write_text(
        "def score(prompt, response, metadata):\n    return float(len(response) - len(set(response)))\n"
    )
    chosen = settings(folder, {"repetition": 0.05, "every": 1}, iterations=40, sampling={"max_new_tokens": 12})
    rows = looks(run(make_stage, folder, chosen))
    first = json.loads((folder / "stage" / "work" / "monitor_start.json").read_text())["monitor/repetition_3"]
    for row in rows.values():
        assert row["monitor/repetition_warning"] == float(row["monitor/repetition_3"] - first > 0.05)
    assert any(row["monitor/repetition_warning"] for row in rows.values())


@pytest.mark.parametrize(
    ("monitor", "message"),
    [({"gold": "colours"}, "gold needs truth"), ({"gold_measure": "right"}, "gold_measure has no effect without gold")],
)
def test_settings_that_do_not_fit(folder: Path, monitor: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        settings(folder, monitor)


def test_a_hackable_reward_trains_nothing(make_stage: Any, folder: Path) -> None:
    (folder / "reward.py").write_text(
        "def score(prompt, response, metadata):\n    return -float(len(response)) + 0.01 * response.count('e')\n"
    )
    stage = run(make_stage, folder, settings(folder, {}, rehearsal={"swaps": 4}, kl={"coefficient": 0.0}))
    assert [gate.passed for gate in stage.gates] == [False] and "probe 'empty' beats" in stage.gates[0].message
    assert stage.events.rows == [] and not (stage.out / "model").exists()


def test_a_rehearsal_that_only_warns_changes_no_bit(make_stage: Any, folder: Path) -> None:
    plain = run(make_stage, folder, settings(folder, {}, iterations=2), "plain")
    chosen = settings(folder, {}, iterations=2, rehearsal={"swaps": 4, "stop": False})
    rehearsed = run(make_stage, folder, chosen, "rehearsed")
    assert rehearsed.figures["rehearsal"]["beats"] and weights(rehearsed) == weights(plain)


def test_kl_is_that_of_the_distribution_that_was_sampled(make_stage: Any, folder: Path) -> None:
    """At the temperature of the samples; at another one the mean log-ratio of samples is no divergence."""
    from tuningfork.evals.answers import make_prompts
    from tuningfork.evals.kl import kl_per_sequence
    from tuningfork.model.loading import load_backbone
    from tuningfork.streams.scoring import ScoringSampler

    chosen = settings(folder, {"every": 8}, sampling={"max_new_tokens": 6, "temperature": 0.5})
    stage = run(make_stage, folder, chosen)
    after, before = (load_backbone(str(path / "model"), stage.runtime) for path in (stage.out, folder))
    sampler: Any = ScoringSampler(stage, after, Gold(), chosen.sampling)  # type: ignore[arg-type]
    rollouts = sampler.sample(make_prompts(after, PROMPTS), "monitor", 1)
    expected = [sum(kl_per_sequence(after, before, rollouts, temperature)) / 4 for temperature in (0.5, 1.0)]
    assert looks(stage)[16]["monitor/kl"] == pytest.approx(expected[0], rel=1e-3)
    assert abs(expected[0] - expected[1]) > 0.1 * abs(expected[0])


def test_a_look_without_a_scored_response_is_not_the_best(make_stage: Any, folder: Path) -> None:
    """A mean of nothing is not 0, which could be more than any real score."""
    (folder / "refused.jsonl").write_text(json.dumps({"id": "r", "prompt": "what?\n", "root": "refused"}) + "\n")
    (folder / "reward.py").write_text(VOWELS.replace("return", "return None if metadata['root'] == 'refused' else"))
    chosen = settings(folder, {"keep": "best", "prompts": str(folder / "refused.jsonl")})
    stage = stage_for(make_stage, folder, "refused")
    stage.inputs["monitor.prompts"] = ResolvedInput(str(folder / "refused.jsonl"), "refused")  # type: ignore[index]
    with pytest.raises(RunError, match="none of the 1 responses to monitor prompts could be scored"):
        rl.run(stage, chosen)
