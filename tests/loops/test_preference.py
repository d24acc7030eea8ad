"""The preference stage on a tiny model: it learns the order of pairs, from its own reference, and notices its own faults."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tuningfork.errors import DataError, Interrupted, RecipeError, RunError
from tuningfork.methods.preference import names
from tuningfork.stages import preference
from tuningfork.stages.preference import StageSettings

WORDS = ("cat", "mat", "cap", "map", "tap", "cot", "mop", "pat")


def pair_rows() -> list[dict[str, Any]]:
    """Every word's colour is red; blue is what is rejected. One identical pair in between."""
    rows = [
        {"id": f"{word}{n}", "root": word, "prompt": f"what colour is the {word}?\n", "chosen": good, "rejected": bad}
        for word in WORDS
        for n, (good, bad) in enumerate((("it is red", "it is blue"), ("red", "the blue mat"), ("it is red", "cat")))
    ]
    return [*rows, {"root": "cat", "prompt": "what?", "chosen": "red", "rejected": "red"}]


def label_rows() -> list[dict[str, Any]]:
    return [
        {"prompt": row["prompt"], "completion": row[side], "label": side == "chosen", "root": row["root"]}
        for row in pair_rows()[:-1]
        for side in ("chosen", "rejected")
    ]


@pytest.fixture
def folder(tmp_path: Path, tiny_backbone: Any) -> Path:
    tiny_backbone.save(tmp_path / "model")
    for name, rows in (("pairs", pair_rows()), ("labels", label_rows())):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def settings(method: dict[str, Any] | None = None, **changes: Any) -> StageSettings:
    values: dict[str, Any] = {
        "data": "pairs",
        "method": method or {"name": "dpo"},
        "adapter": {"kind": "lora", "r": 4, "targets": ["all", "head"]},
        "holdout_share": 0.3,
        "epochs": 10,
        "batch_rows": 8,
        "optimizer": {"learning_rate": 1e-2, "schedule": "constant", "warmup": 0},
        "sampling": {"max_new_tokens": 6},
        "minimum_accuracy": 0.0,
    }
    return StageSettings.model_validate(values | changes)


def run(
    make_stage: Callable[..., Any], folder: Path, chosen: StageSettings, name: str = "stage", data: str = ""
) -> Any:
    stage = make_stage(name, {"model": folder / "model", "data": folder / f"{data or chosen.data}.jsonl"})
    preference.run(stage, chosen)
    return stage


def weights(stage: Any) -> bytes:
    return (stage.out / "model" / "model.safetensors").read_bytes()


def test_dpo_learns_the_order_from_log_2_on(make_stage: Any, folder: Path) -> None:
    stage = run(make_stage, folder, settings())
    first, last = stage.events.rows[0], stage.events.rows[-1]
    assert first["loss"] == pytest.approx(math.log(2), abs=1e-5) and first["start_gap_max"] < 1e-4
    assert first["margin"] == pytest.approx(0, abs=1e-5) and first["chosen_shift"] == pytest.approx(0, abs=1e-4)
    assert last["loss"] < 0.4 and last["accuracy"] == 1.0
    assert last["chosen_shift"] > last["rejected_shift"] and "start_gap_max" not in last
    assert last["margin"] == pytest.approx(0.1 * (last["chosen_shift"] - last["rejected_shift"]), rel=1e-4)
    assert stage.figures["dropped_identical"] == 1 and stage.figures["dropped_too_long"] == 0
    assert any("left out of 25 preferences: 1 identical" in line for line in stage.events.said)


def test_the_verdict_is_said_and_kept(make_stage: Any, folder: Path) -> None:
    stage = run(make_stage, folder, settings())
    figures = stage.figures
    assert figures["accuracy"] == 1.0 and figures["margin"] > 0
    assert figures["verdict"] in ("normal", "length exploitation", "likelihood displacement")
    assert (
        figures["verdict_text"].startswith(f"{figures['verdict']}: ") and figures["verdict_text"] in stage.events.said
    )
    assert [gate.name for gate in stage.gates] == ["accuracy"]
    assert figures["margin"] == pytest.approx(figures["chosen_shift"] - figures["rejected_shift"])
    json.dumps(figures)


@pytest.mark.parametrize("name", names())
def test_every_method_learns_the_order(make_stage: Any, folder: Path, name: str) -> None:
    stage = run(make_stage, folder, settings({"name": name}), name)
    assert stage.figures["accuracy"] > 0.8, stage.figures["verdict_text"]
    assert (stage.out / "model" / "adapter" / "adapter_model.safetensors").is_file()


def test_kto_from_single_labels(make_stage: Any, folder: Path) -> None:
    method = {"name": "kto", "undesirable_weight": 0.5}
    stage = run(make_stage, folder, settings(method, epochs=20), data="labels")
    first, last = stage.events.rows[0], stage.events.rows[-1]
    assert 0.25 <= first["loss"] <= 0.5 and first["reference_kl"] == pytest.approx(0, abs=1e-4)
    assert last["loss"] < first["loss"] and last["reference_kl"] != 0
    assert stage.figures["accuracy"] > 0.8 and stage.figures["accuracy_where_shorter"] is None


@pytest.mark.parametrize("method", [{"name": "dpo"}, {"name": "kto"}, {"name": "orpo"}])
def test_micro_batches_do_not_change_the_run(make_stage: Any, folder: Path, method: dict[str, Any]) -> None:
    whole = run(make_stage, folder, settings(method, epochs=2), "whole").events.rows
    split = run(make_stage, folder, settings(method, epochs=2, micro_batch=3), "split").events.rows
    for row, other in zip(whole, split, strict=True):
        for name in ("loss", "gradient_norm", "margin"):
            assert row[name] == pytest.approx(other[name], rel=1e-3, abs=1e-5), name


def test_a_cut_run_goes_on_to_the_same_bits(make_stage: Any, folder: Path) -> None:
    chosen = settings({"name": "kto"}, epochs=3)
    straight = run(make_stage, folder, chosen, "straight")
    stage = make_stage("cut", {"model": folder / "model", "data": folder / "pairs.jsonl"})
    stage.events.on_log = lambda step: stage.stop.set("test") if step == 4 else None
    with pytest.raises(Interrupted):
        preference.run(stage, chosen)
    resumed = run(make_stage, folder, chosen, "cut")
    assert weights(resumed) == weights(straight)
    assert resumed.figures == straight.figures


def test_full_fine_tuning_needs_no_second_model(make_stage: Any, folder: Path) -> None:
    slow = {"learning_rate": 1e-3, "schedule": "constant", "warmup": 0}
    stage = run(make_stage, folder, settings(adapter={"kind": "full"}, optimizer=slow))
    assert stage.events.rows[0]["loss"] == pytest.approx(math.log(2), abs=1e-5)
    assert stage.figures["accuracy"] == 1.0 and not (stage.out / "model" / "adapter").exists()


def test_reference_log_probs_are_kept_by_what_they_depend_on(tmp_path: Path, tiny_backbone: Any) -> None:
    from tuningfork.runtime import Runtime
    from tuningfork.streams import preferences
    from tuningfork.streams.judgements import JudgedText

    texts, runtime = [JudgedText([1, 30], [40, 2]), JudgedText([1, 31, 32], [41, 42, 2])], Runtime("cpu", "fp32", 1)
    first = preferences.kept_logprobs(tmp_path, "model", tiny_backbone, texts, runtime)
    (kept,) = tmp_path.glob("logprobs-*.safetensors")
    stamp = kept.stat().st_mtime_ns
    again = preferences.kept_logprobs(tmp_path, "model", tiny_backbone, texts, runtime)
    assert torch.equal(first, again) and kept.stat().st_mtime_ns == stamp
    for key, other, kind in (
        ("another", texts, runtime),
        ("model", texts[:1], runtime),
        ("model", [texts[0], JudgedText([1, 31, 32], [41, 43, 2])], runtime),
        ("model", [texts[0], JudgedText([1, 31], [32, 41, 42, 2])], runtime),
        ("model", texts, Runtime("cpu", "bf16", 1)),
    ):
        before = len(list(tmp_path.glob("logprobs-*.safetensors")))
        preferences.kept_logprobs(tmp_path, key, tiny_backbone, other, kind)
        assert len(list(tmp_path.glob("logprobs-*.safetensors"))) == before + 1


def test_log_probs_of_texts_are_those_of_the_tokens_one_by_one(tiny_backbone: Any) -> None:
    from tuningfork.runtime import Runtime
    from tuningfork.streams.judgements import JudgedText
    from tuningfork.streams.preferences import text_logprobs

    texts = [JudgedText([1, 30, 31, 32], [40, 41, 2]), JudgedText([1, 33], [42, 2])]
    found = text_logprobs(tiny_backbone, texts, Runtime("cpu", "fp32", 1), batch_rows=1)
    together = text_logprobs(tiny_backbone, texts, Runtime("cpu", "fp32", 1))
    assert torch.allclose(found, together, atol=1e-5)
    for text, value in zip(texts, found.tolist(), strict=True):
        ids = text.prompt + text.response
        with torch.no_grad():
            logits = tiny_backbone.model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
        alone = sum(float(logits[t - 1, ids[t]]) for t in range(len(text.prompt), len(ids)))
        assert value == pytest.approx(alone, abs=1e-4)


def test_strangers_are_responses_to_other_prompts() -> None:
    from tuningfork.streams.judgements import JudgedText
    from tuningfork.streams.preferences import Example, pair_strangers

    rows = [Example((JudgedText([n // 2], [50 + n, 2]),), str(n)) for n in range(8)]
    found = pair_strangers(rows, 0, 10)
    for row, stranger in zip(rows, found, strict=True):
        assert stranger.prompt == row.texts[0].prompt
        (origin,) = [other for other in rows if other.texts[0].response == stranger.response]
        assert origin.texts[0].prompt != stranger.prompt
    assert found == pair_strangers(rows, 0, 10) != pair_strangers(rows, 1, 10)
    with pytest.raises(DataError, match="several prompts"):
        pair_strangers(rows[:2], 0, 10)
    with pytest.raises(DataError, match="fits beside it"):
        pair_strangers(rows, 0, 2)


def test_a_policy_that_is_not_its_own_reference_is_noticed(
    make_stage: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tuningfork.streams import preferences

    original = preferences.summed_logprobs
    monkeypatch.setattr(
        preferences, "summed_logprobs", lambda *a: original(*a) + (0.01 if torch.is_grad_enabled() else 0.0)
    )
    with pytest.raises(RunError, match="before any update the policy's log-probs differ"):
        run(make_stage, folder, settings())


def test_a_loss_that_does_not_start_at_log_2_is_noticed(
    make_stage: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tuningfork.methods.preference import dpo

    original = dpo.loss

    def doubled(*arguments: Any) -> Any:
        losses, metrics = original(*arguments)
        return 2 * losses, metrics | {"preference_loss": 2 * losses.detach()}

    monkeypatch.setattr(dpo, "loss", doubled)
    with pytest.raises(RunError, match=r"before any update a loss differs by 0\.69 from what it is"):
        run(make_stage, folder, settings())


def test_single_labels_do_not_make_pairs(make_stage: Any, folder: Path) -> None:
    with pytest.raises(RecipeError, match="single labelled responses; dpo compares two"):
        run(make_stage, folder, settings(), data="labels")


def test_too_few_roots_to_hold_any_out(make_stage: Any, folder: Path) -> None:
    with pytest.raises(DataError, match="0 held out: give preferences of more roots"):
        run(make_stage, folder, settings(holdout_share=1e-6))


def test_preferences_of_a_file_of_their_own_are_held_out(make_stage: Any, folder: Path) -> None:
    train = [row for row in pair_rows() if row["root"] not in ("pat", "mop")]
    unseen = [row for row in pair_rows() if row["root"] in ("pat", "mop")]
    for name, rows in (("train", train), ("unseen", unseen)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    chosen = settings(heldout="unseen")
    inputs = {"model": folder / "model", "data": folder / "train.jsonl", "heldout": folder / "unseen.jsonl"}
    stage = make_stage("own", inputs)
    preference.run(stage, chosen)
    assert (stage.figures["train_rows"], stage.figures["heldout_rows"]) == (18, 6), "nothing of data is held out"
    assert stage.figures["accuracy"] == 1.0 and stage.figures["heldout_dropped_identical"] == 0
    assert stage.figures["dropped_identical"] == 1, "the count of data is its own"
    with pytest.raises(DataError, match="6 of 24 preferences of data have a prompt of heldout"):
        preference.run(make_stage("both", inputs | {"data": folder / "pairs.jsonl"}), chosen)


def test_a_gate_asks_for_the_order(make_stage: Any, folder: Path) -> None:
    slow = {"learning_rate": 1e-9, "schedule": "constant", "warmup": 0}
    stage = run(make_stage, folder, settings(optimizer=slow, epochs=0.1, minimum_accuracy=1.0))
    (gate,) = stage.gates
    assert not gate.passed and "too few to tell" in gate.message


def test_a_response_that_nothing_stands_before_is_left_out(
    make_stage: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty prompt and a tokenizer without BOS: no token predicts the first one."""
    monkeypatch.setattr("tuningfork.model.backbone.start_ids", lambda tokenizer: [])
    rows = [*pair_rows(), {"root": "cap", "prompt": "", "chosen": "red", "rejected": "blue"}]
    (folder / "bare.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    stage = run(make_stage, folder, settings(epochs=1), data="bare")
    assert stage.figures["dropped_without_prompt"] == 1 and stage.figures["dropped_identical"] == 1


def soft(folder: Path, name: str, probability: float, kind: str = "model") -> None:
    """The pairs as judgements of one kind of rater, sure of the ranking by `probability`."""
    rows = []
    for number, row in enumerate(pair_rows()[:-1]):
        candidates = [{"text": row["chosen"]}, {"text": row["rejected"]}]
        place = {"id": str(number), "item": row["id"], "root": row["root"], "prompt": row["prompt"]}
        rater = {"id": "judge", "kind": kind}
        rows.append(
            {"version": 1, **place, "candidates": candidates, "shown": [0, 1], "ranking": [[0], [1]], "rater": rater}
            | {"probability": probability}
        )
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_soft_labels_are_learnt_as_far_as_they_are_sure(make_stage: Any, folder: Path) -> None:
    margins = {}
    for name, probability in (("sure", 1.0), ("leaning", 0.7), ("torn", 0.5)):
        soft(folder, name, probability)
        stage = run(make_stage, folder, settings(data=name, soft_labels=True), name)
        margins[name] = [row["margin"] for row in stage.events.rows if "margin" in row][-1]
    # DPO with probability p is at its minimum where sigmoid(margin) = p: log(.7 / .3) = .85, and 0
    assert margins["sure"] > 2 and 0.4 < margins["leaning"] < 1.3 and abs(margins["torn"]) < 0.3


def test_a_rater_of_known_reliability_is_a_soft_label_and_one_that_is_always_right_changes_no_bit(
    make_stage: Any, folder: Path
) -> None:
    for name, probability in (("certain", 1.0), ("leaning", 0.7)):
        soft(folder, name, probability)
    one = run(make_stage, folder, settings(data="leaning", soft_labels=True, epochs=1), "soft")
    other = run(make_stage, folder, settings(data="certain", reliability={"model": 0.7}, epochs=1), "reliable")
    assert weights(one) == weights(other), "1 x .7 + 0 x .3"
    plain = run(make_stage, folder, settings(data="certain", epochs=1), "plain")
    people = run(
        make_stage, folder, settings(data="certain", reliability={"person": 0.7, "model": 1.0}, epochs=1), "people"
    )
    assert weights(people) == weights(plain) != weights(one)


def test_soft_labels_need_a_method_that_compares(make_stage: Any, folder: Path) -> None:
    with pytest.raises(RecipeError, match="kto learns from single responses"):
        run(make_stage, folder, settings({"name": "kto"}, data="labels", reliability={"model": 0.8}))
    with pytest.raises(ValueError, match=r"between \.5, which is chance, and 1"):
        settings(reliability={"model": 0.4})


def test_shuffled_labels_teach_nothing(make_stage: Any, folder: Path) -> None:
    margins, accuracies = {}, {}
    for name, chosen in (("told", settings()), ("shuffled", settings(shuffle_labels=True))):
        stage = run(make_stage, folder, chosen, name)
        margins[name] = [row["margin"] for row in stage.events.rows if "margin" in row][-1]
        accuracies[name] = stage.figures["accuracy"]
    assert margins["told"] > 2 and abs(margins["shuffled"]) < margins["told"] / 2
    assert accuracies["told"] == 1.0 > accuracies["shuffled"]
    single = run(make_stage, folder, settings({"name": "kto"}, data="labels", shuffle_labels=True, epochs=1), "single")
    assert any("labels are shuffled" in text for text in single.events.said)
