"""The SFT stage on a tiny model: it learns to answer and to stop, keeps the best weights, and resumes to the bit."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from tuningfork.errors import DataError, Interrupted, ModelError, RecipeError
from tuningfork.stages import pretrain, sft
from tuningfork.train.advice import learning_rate_advice, usual_learning_rate

Row = dict[str, Any]
WORDS = ("cat", "mat", "cap", "map", "hat", "sun")


def chat(word: str, colour: str) -> Row:
    question = {"role": "user", "content": f"what colour is the {word}?"}
    return {"messages": [question, {"role": "assistant", "content": f"it is {colour}."}]}


CHATS = [chat(word, ("red", "blue")[index % 2]) for index, word in enumerate(WORDS)]
PAIRS = [{"prompt": f"the {word} is", "completion": " red" * (1 + index)} for index, word in enumerate(WORDS)]


@pytest.fixture
def folder(tmp_path: Path, tiny_backbone: Any) -> Path:
    tiny_backbone.save(tmp_path / "model")
    write(tmp_path / "chats.jsonl", CHATS)
    write(tmp_path / "pairs.jsonl", PAIRS)
    return tmp_path


def write(path: Path, rows: list[Row]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def run(make_stage: Callable[..., Any], folder: Path, name: str = "stage", data: str = "chats.jsonl", **changes: Any):
    """Train on a file of `folder`; nested inputs are files of it too."""
    inputs = {"model": folder / "model", "data": folder / data}
    for field, key in (("heldout", "data"), ("stop_probe", "prompts")):
        if field in changes:
            changes[field] = {**changes[field], key: str(folder / changes[field][key])}
            inputs[f"{field}.{key}"] = Path(changes[field][key])
    stage = make_stage(name, inputs)
    values = {"data": str(folder / data), "steps": 60, "batch_rows": 4, "optimizer": {"learning_rate": 1e-2}}
    sft.run(stage, sft.StageSettings.model_validate(values | changes))
    return stage


def weights(stage: Any) -> dict[str, list[float]]:
    return {name: value.flatten().tolist() for name, value in load_file(stage.out / "model/model.safetensors").items()}


def samples(stage: Any) -> list[Row]:
    return [json.loads(line) for line in (stage.out / "samples.jsonl").read_text().splitlines()]


def test_it_learns_the_answers_and_to_stop(make_stage: Callable[..., Any], folder: Path) -> None:
    probe = {"prompts": "chats.jsonl", "minimum": 0.9, "max_new_tokens": 20}
    stage = run(make_stage, folder, stop_probe=probe, heldout={"data": "chats.jsonl", "every": 30, "samples": 2})
    (gate,) = stage.gates
    assert gate.name == "stops" and gate.passed and stage.figures["stop_rate"] == 1.0
    assert stage.figures["heldout_token_accuracy"] == 1.0 and stage.figures["format"] == "conversation"
    assert [row["step"] for row in stage.events.rows if "heldout/loss" in row] == [30, 60]
    assert stage.events.rows[-1]["token_accuracy"] == 1.0 and stage.events.rows[-1]["heldout/eos"] == 1.0
    taken = samples(stage)
    assert [row.get("step", row.get("purpose")) for row in taken] == [30, 30, 60, 60, *["stop probe"] * 6]
    assert taken[2]["prompt"] == "user: what colour is the cat?" and taken[2]["response"] == "it is red."
    assert any("HIGH" in text and "full training" in text for text in stage.events.said)


def test_the_end_of_a_cut_answer_is_not_learnt(make_stage: Callable[..., Any], folder: Path) -> None:
    targets = {}
    for learn_end in (True, False):
        stage = run(make_stage, folder, f"end {learn_end}", "pairs.jsonl", learn_end=learn_end, steps=1, batch_rows=6)
        said = next(text for text in stage.events.said if "target tokens" in text)
        targets[learn_end] = int(said.split(", ")[1].split()[0])
        assert math.isfinite(stage.events.rows[0]["loss"])
    assert targets[True] - targets[False] == len(PAIRS)  # the EOS of each


def test_held_out_answers_have_an_interval_and_a_before(make_stage: Callable[..., Any], folder: Path) -> None:
    stage = run(make_stage, folder, heldout={"data": "chats.jsonl", "every": 60, "samples": 0})
    low, high = stage.figures["heldout_loss_ci95"]
    assert low <= stage.figures["heldout_loss"] <= high < stage.figures["heldout_loss_before"]
    change = stage.figures["heldout_loss"] - stage.figures["heldout_loss_before"]
    assert stage.figures["heldout_change_ci95"][0] <= change <= stage.figures["heldout_change_ci95"][1] < 0


def test_questions_as_long_as_the_context_are_counted_and_not_sampled(
    make_stage: Callable[..., Any], folder: Path
) -> None:
    long = chat(" ".join(["cat"] * 400), "red")
    write(folder / "long.jsonl", [long, CHATS[0], long, CHATS[1]])
    probe = {"prompts": "long.jsonl", "minimum": 0, "max_new_tokens": 4, "limit": 2}
    heldout = {"data": "long.jsonl", "every": 2, "samples": 2}
    stage = run(make_stage, folder, steps=2, too_long="skip", heldout=heldout, stop_probe=probe)
    assert [row["prompt"] for row in samples(stage)] == [f"user: what colour is the {w}?" for w in ("cat", "mat")] * 2
    assert stage.figures["heldout_questions_too_long"] == stage.figures["stop_prompts_too_long"] == 2
    assert stage.figures["stop_answers"] == 2
    assert any("2 questions as long as the context are not sampled" in text for text in stage.events.said)
    write(folder / "only-long.jsonl", [long])
    with pytest.raises(DataError, match="no prompt leaves room for an answer"):
        run(make_stage, folder, "none", steps=2, stop_probe=probe | {"prompts": "only-long.jsonl"})


def test_a_model_that_does_not_stop_fails_the_gate(make_stage: Callable[..., Any], folder: Path) -> None:
    probe = {"prompts": "pairs.jsonl", "minimum": 0.5, "max_new_tokens": 4}
    stage = run(make_stage, folder, steps=1, optimizer={"learning_rate": 1e-5}, stop_probe=probe)
    (gate,) = stage.gates
    assert not gate.passed and gate.figures["stop_rate"] < 0.5
    assert "sampled answers end within 4 tokens (at least 0.5)" in gate.message


def test_the_best_weights_are_kept(make_stage: Callable[..., Any], folder: Path) -> None:
    """Held-out answers contradict the training answers, so after a while the loss on them rises."""
    write(folder / "other.jsonl", [chat(word, ("blue", "red")[index % 2]) for index, word in enumerate(WORDS)])
    heldout = {"data": "other.jsonl", "every": 5, "samples": 0}
    best = run(make_stage, folder, "best", heldout=heldout)
    looks = {row["step"]: row["heldout/loss"] for row in best.events.rows if "heldout/loss" in row}
    lowest = min(looks, key=lambda step: looks[step])
    assert lowest < 60 and best.figures["best_step"] == lowest
    assert math.isclose(best.figures["heldout_loss"], looks[lowest], rel_tol=1e-6)
    last = run(make_stage, folder, "last", heldout={**heldout, "keep": "last"})
    assert math.isclose(last.figures["heldout_loss"], looks[60], rel_tol=1e-6) and "best_step" not in last.figures
    assert weights(best) != weights(last) == weights(run(make_stage, folder, "plain"))


@pytest.mark.parametrize(
    "changes",
    [{}, {"batching": "length_grouped"}, {"packing": "best_fit", "length": 30}],
    ids=["random", "length_grouped", "packed"],
)
def test_a_cut_run_goes_on_to_the_same_bits(make_stage: Callable[..., Any], folder: Path, changes: Row) -> None:
    options = {"data": "pairs.jsonl", "steps": 12, "heldout": {"data": "pairs.jsonl", "every": 2}, **changes}
    straight = run(make_stage, folder, "straight", **options)

    def cutting(*arguments: Any) -> Any:
        stage = make_stage(*arguments)
        stage.events.on_log = lambda step: stage.stop.set("test") if step == 5 else None
        return stage

    with pytest.raises(Interrupted, match="resumes"):
        run(cutting, folder, "cut", **options)
    resumed = run(make_stage, folder, "cut", **options)
    assert weights(resumed) == weights(straight)
    assert resumed.figures == straight.figures
    assert resumed.events.rows[-1]["heldout/loss"] == straight.events.rows[-1]["heldout/loss"]


def test_packing_trains_as_without(make_stage: Callable[..., Any], folder: Path) -> None:
    """One step on all demonstrations: the same loss, and the same weights up to rounding."""
    options = {"data": "pairs.jsonl", "steps": 1, "optimizer": {"learning_rate": 1e-3, "eps": 1e-3}}
    plain = run(make_stage, folder, "plain", batch_rows=6, **options)
    packed = run(make_stage, folder, "packed", batch_rows=2, packing="best_fit", length=32, **options)
    assert packed.figures["packed_rows"] == 2 and packed.figures["padding_share"] < plain.figures["padding_share"]
    a, b = plain.events.rows[0], packed.events.rows[0]
    assert a["tokens"] == b["tokens"] and math.isclose(a["loss"], b["loss"], rel_tol=1e-5)
    assert math.isclose(a["gradient_norm"], b["gradient_norm"], rel_tol=1e-5)
    for name, value in weights(plain).items():
        assert value == pytest.approx(weights(packed)[name], abs=1e-6)


def test_grouping_saves_padding(make_stage: Callable[..., Any], folder: Path) -> None:
    options = {"data": "pairs.jsonl", "steps": 9, "batch_rows": 2}
    plain = run(make_stage, folder, "plain", **options)
    grouped = run(make_stage, folder, "grouped", batching="length_grouped", **options)
    assert grouped.figures["padding_share"] < plain.figures["padding_share"]


def test_chatml_replaces_a_template_and_lora_trains_its_markers(make_stage: Callable[..., Any], folder: Path) -> None:
    adapter = {"kind": "lora", "r": 8, "targets": ["all"]}
    probe = {"prompts": "chats.jsonl", "minimum": 0.9, "max_new_tokens": 20}
    stage = run(
        make_stage, folder, steps=150, chat={"template": "chatml"}, adapter=adapter, stop_probe=probe,
        optimizer={"learning_rate": 1e-2},
    )  # fmt: skip
    assert stage.gates[0].passed, stage.gates[0].message
    assert (stage.out / "model" / "adapter" / "tokenizer_config.json").is_file()


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"data": "pairs.jsonl", "chat": {"loss_on": "last"}}, RecipeError, "chat has no effect"),
        ({"packing": "best_fit", "length": 400}, RecipeError, "at most the model's context"),
        ({"length": 40}, ValueError, "length is that of packed rows"),
        ({"steps": 2, "epochs": 1}, RecipeError, "either steps or epochs"),
        ({"learn_end": False}, RecipeError, "the template says how a turn ends"),
        ({"learn_end": False, "streaming": True}, ValueError, "not for streamed data"),
        (
            {"learn_end": False, "heldout": {"data": "chats.jsonl"}},
            ValueError,
            "heldout measures how probable ends are",
        ),
        ({"chat": {"date": "1 Jan 2025"}}, ModelError, "chat.date has no effect"),
    ],
)
def test_settings_without_effect_are_refused(
    make_stage: Callable[..., Any], folder: Path, changes: Row, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        run(make_stage, folder, **changes)


@pytest.mark.parametrize(("packing", "rows"), [("none", 40), ("best_fit", 14)])
def test_pretraining_without_crossing_texts(
    make_stage: Callable[..., Any], folder: Path, packing: str, rows: int
) -> None:
    texts = [{"text": ("the cat sat", "it is red and it is blue", "what colour is the mat?")[i % 3]} for i in range(40)]
    stage = make_stage("pretrain", {"data": write(folder / "texts.jsonl", texts), "model": folder / "model"})
    values = {"model": str(folder / "model"), "data": "texts.jsonl", "steps": 3, "batch_rows": 4, "length": 32}
    pretrain.run(stage, pretrain.StageSettings.model_validate(values | {"packing": packing}))
    said = next(text for text in stage.events.said if " texts, " in text)
    assert int(said.split(" in ")[1].split()[0]) <= rows and 0 <= stage.figures["padding_share"] < 1
    with pytest.raises(ValueError, match="batching has no effect"):
        pretrain.StageSettings.model_validate(values | {"batching": "length_grouped"})


def test_learning_rate_advice() -> None:
    # 2e-5 sqrt(1e9 / n): 1e9 -> 2e-5, 1e7 -> 2e-4; 1e5 -> 2e-3, which is above the cap of 1e-3
    assert usual_learning_rate(10**9, "full") == pytest.approx(2e-5)
    assert usual_learning_rate(10**7, "unfreeze") == pytest.approx(2e-4)
    assert usual_learning_rate(10**5, "full") == 1e-3 and usual_learning_rate(7 * 10**10, "full") == 1e-5
    assert usual_learning_rate(7 * 10**10, "lora") == pytest.approx(1e-4) and usual_learning_rate(10**7, "lora") == 2e-3
    assert learning_rate_advice(2e-5, 10**9, "full") == (
        "learning rate 2e-05: 7e-06 to 6e-05 is usual for full training of 1,000,000,000 parameters"
    )
    assert "is HIGH" in learning_rate_advice(1e-3, 10**9, "full")
    assert "is LOW" in learning_rate_advice(1e-6, 10**9, "full")


def test_heldout_rows_that_are_trained_on_are_found(make_stage: Callable[..., Any], folder: Path) -> None:
    write(folder / "unseen.jsonl", [CHATS[0], chat("box", "red")])
    stage = run(make_stage, folder, steps=2, heldout={"data": "unseen.jsonl", "samples": 0})
    findings = {f["name"]: f for f in json.loads((stage.out / "audit.json").read_text())["problems"]}
    assert findings["evaluation_rows_in_training"]["count"] == 1
    apart = run(make_stage, folder, "apart", steps=2)
    assert "evaluation_rows_in_training" not in (apart.out / "audit.json").read_text()


def test_heldout_pairs_take_the_form_of_the_conversations_that_are_trained_on(
    make_stage: Callable[..., Any], folder: Path
) -> None:
    write(folder / "unseen.jsonl", [{"prompt": "what colour is the cat?", "completion": "it is red."}])
    stage = run(make_stage, folder, heldout={"data": "unseen.jsonl", "samples": 1})
    assert stage.figures["heldout_token_accuracy"] == 1.0 and samples(stage)[-1]["prompt"].startswith("user: ")
    with pytest.raises(DataError, match="holds conversations and the training data pairs"):
        run(make_stage, folder, "other", data="pairs.jsonl", heldout={"data": "chats.jsonl"})


def no_wars(folder: Path, *, wars: int, peaceful: int = 30) -> None:
    """A model whose chat template refuses what is said of wars, and conversations of which `wars` are about one."""
    file = folder / "model" / "tokenizer_config.json"
    config = json.loads(file.read_text())
    templates = [folder / "model" / "chat_template.jinja"]
    own = templates[0].read_text() if templates[0].is_file() else config["chat_template"]
    strict = "{% for m in messages %}{% if 'war' in m.content %}{{ raise_exception('no wars') }}{% endif %}{% endfor %}"
    config.pop("chat_template", None)
    templates[0].write_text(strict + own)
    file.write_text(json.dumps(config))
    rows = [chat(f"{WORDS[n % 6]} {n}", "red") for n in range(peaceful)]
    for number in range(wars):
        rows.insert(3 * number + 1, chat("war", "red"))
    write(folder / "wars.jsonl", rows)


def test_a_row_that_the_template_refuses_is_left_out_and_counted(make_stage: Callable[..., Any], folder: Path) -> None:
    no_wars(folder, wars=2)
    held = {"data": "wars.jsonl", "samples": 4, "max_new_tokens": 2, "every": 2}
    stage = run(make_stage, folder, data="wars.jsonl", steps=2, reading={"skip_share": 0.1}, heldout=held)
    assert stage.figures["demonstrations"] == 30 and stage.figures["faulty_rows_left_out"] == 2
    told = "2 of 32 rows left out as faulty (6.25%); first: "
    said = next(line for line in stage.events.said if line.startswith(told))
    assert "wars.jsonl:2: the chat template refuses: no wars" in said and "wars.jsonl:5: " in said
    assert any(line.startswith(f"held-out: {told}") for line in stage.events.said), "held-out rows likewise"
    report = json.loads((stage.out / "audit.json").read_text())
    assert "2" in json.dumps(report) and "war?" not in json.dumps(report)


def test_too_many_refused_rows_stop_the_stage_and_so_does_one_where_reading_is_strict(
    make_stage: Callable[..., Any], folder: Path
) -> None:
    no_wars(folder, wars=2)
    with pytest.raises(DataError, match=r"wars\.jsonl:2: the chat template refuses: no wars \(2 of 32 rows are faulty"):
        run(make_stage, folder, data="wars.jsonl", steps=2)
    with pytest.raises(DataError, match=r"wars\.jsonl:2: the chat template refuses: no wars$"):
        run(make_stage, folder, data="wars.jsonl", steps=2, reading={"strict": True, "skip_share": 0.1})
    no_wars(folder, wars=3, peaceful=0)
    with pytest.raises(DataError, match="3 of 3 rows are faulty"):
        run(make_stage, folder, data="wars.jsonl", steps=2, reading={"skip_share": 0.5})


def test_streamed_rows_that_the_template_refuses_are_left_out_and_counted(
    make_stage: Callable[..., Any], folder: Path
) -> None:
    no_wars(folder, wars=2)
    stage = run(
        make_stage, folder, data="wars.jsonl", steps=9, streaming=True, reading={"skip_share": 0.1, "strict": False}
    )
    assert stage.figures["streamed"] and stage.figures["faulty_rows_left_out"] >= 2
    assert any("the chat template refuses: no wars" in line for line in stage.events.said)
