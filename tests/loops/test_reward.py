"""The stage `reward` on a tiny model: every kind of feedback teaches it that red is good, and its card says so."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from reward_data import BAD, GOOD, WORDS, judgements, pairs, question, rankings, texts, thumbs, write

from tuningfork.errors import DataError, RecipeError
from tuningfork.model.reward_model import RewardModel
from tuningfork.reward.base import Item
from tuningfork.reward.kinds import learned
from tuningfork.reward_training.scoring import score_items
from tuningfork.runtime import Runtime
from tuningfork.stages import reward
from tuningfork.stages.reward import StageSettings

CPU = Runtime("cpu", "fp32", 1)
Run = Callable[..., Any]


@pytest.fixture
def run(make_stage: Callable[..., Any], tmp_path: Path, tiny_backbone: Any) -> Run:
    """`run(rows, name=..., heldout=rows, **settings)`: the stage after it ran."""
    tiny_backbone.save(tmp_path / "model")

    def run(
        rows: list[dict[str, Any]], /, name: str = "stage", heldout: Any = None, inputs: Any = None, **changes: Any
    ) -> Any:
        files = {"model": tmp_path / "model", "data": write(tmp_path / f"{name}.jsonl", rows), **(inputs or {})}
        if heldout is not None:
            files["heldout"] = write(tmp_path / f"{name}-heldout.jsonl", heldout)
            changes["heldout"] = str(files["heldout"])
        values = {
            "data": "data", "holdout_share": 0.4, "epochs": 6, "batch_rows": 8, "minimum_accuracy": 0.8,
            "optimizer": {"learning_rate": 1e-2, "schedule": "constant", "warmup": 0},
            "card": {"gate": "none", "rewrites": 8, "probes": 8},
        }  # fmt: skip
        stage = make_stage(name, files)
        reward.run(stage, StageSettings.model_validate(values | changes))
        return stage

    return run


def card(stage: Any) -> dict[str, Any]:
    return json.loads((stage.out / "card.json").read_text())


def prefers_red(stage: Any, template: str = "plain") -> bool:
    model = RewardModel.load(stage.out / "model", CPU)
    red, blue = score_items(model, [Item(question("dog"), "it is red"), Item(question("dog"), "it is blue")])
    return red > blue


@pytest.mark.parametrize(
    ("rows", "settings"),
    [
        (pairs(), {}),
        (rankings(), {}),
        (rankings(), {"loss": {"form": "pairs"}}),
        (rankings(), {"loss": {"form": "plackett_luce", "centring": 0.01}}),
        (rankings(), {"loss": {"form": "pick_best"}}),
        (rankings(contradictory=True), {"minimum_accuracy": 0.5}),
        (thumbs(), {"pooling": "mean_response"}),
        (texts(lambda good, n: 2.0 + n % 3 if good else -2.0), {"ratings": {}}),
        (texts(lambda good, n: 1.5 if good else -1.5), {"ratings": {"learn": "pairs"}, "margin": {"scale": 0.2}}),
        (texts(lambda good, n: "fine" if good else "poor"),
         {"labels": {"values": {"fine": 1, "poor": 0}, "window": [6, 20], "short_words": 6}, "pooling": "mean_all"}),
        (judgements(), {"criteria": {"colour": 1.0, "brevity": 0.5}, "pooling": "attention"}),
    ],
    ids=["pairs", "k_wise", "as pairs", "plackett_luce", "pick_best", "contradictory", "thumbs", "ratings", "rated pairs",
         "classes", "criteria"],
)  # fmt: skip
def test_every_kind_of_feedback_teaches_that_red_is_good(
    run: Run, rows: list[dict[str, Any]], settings: dict[str, Any]
) -> None:
    stage = run(rows, **settings)
    assert prefers_red(stage), stage.events.said
    assert all(gate.passed for gate in stage.gates), stage.gates
    found = card(stage)
    assert found["accuracy"]["share"] == stage.figures["accuracy"] and found["verdict"]["sentences"]
    model = RewardModel.load(stage.out / "model", CPU)
    assert model.gain > 0 and model.fitness == {}


@pytest.mark.slow
@pytest.mark.parametrize("pooling", ["last", "mean_response", "mean_all", "max", "attention"])
def test_every_pooling_learns(run: Run, pooling: str) -> None:
    stage = run(pairs(), pooling=pooling, template="dialogue")
    assert prefers_red(stage)
    assert RewardModel.load(stage.out / "model", CPU).template == {"special_tokens": True, "form": "dialogue"}


@pytest.mark.slow
@pytest.mark.parametrize("adapter", [{"kind": "lora", "r": 4, "targets": ["all"]}, {"kind": "frozen"}])
def test_a_trunk_that_stays_can_be_shared(run: Run, adapter: dict[str, Any], tmp_path: Path) -> None:
    from tuningfork.model.loading import load_backbone

    stage = run(pairs(), adapter=adapter, minimum_accuracy=0.0, epochs=30)
    trunk = card(stage)["trunk"]
    assert trunk["can_be_shared"] and trunk["own_mb"] < 0.5 * trunk["trunk_mb"]
    policy = load_backbone(tmp_path / "model", CPU)
    alone, shared = RewardModel.load(stage.out / "model", CPU), RewardModel.load(stage.out / "model", CPU, policy)
    assert shared.backbone is policy
    items = [Item(question("cat"), text) for text in (*GOOD, *BAD)]
    assert score_items(shared, items) == pytest.approx(score_items(alone, items), abs=1e-5)


def test_k_wise_reads_an_answer_once_an_epoch(run: Run) -> None:
    together = run(rankings(contradictory=True), "together", minimum_accuracy=0)
    apart = run(rankings(contradictory=True), "apart", minimum_accuracy=0, loss={"form": "pairs"})
    # answers are equal, and so are the items of rows without an id of their own: each row is an element
    assert apart.figures["elements"] == 5 * together.figures["elements"]
    assert apart.figures["comparisons"] == together.figures["comparisons"]


def test_the_criteria_are_parts_of_the_score(run: Run) -> None:
    stage = run(judgements(), criteria={"colour": 1.0, "brevity": 0.5})
    model = RewardModel.load(stage.out / "model", CPU)
    assert list(model.criteria) == ["colour", "brevity"] and model.head.out_features == 2
    scores = learned.Learned(model).score([Item(question("cat"), text) for text in (*GOOD, *BAD)])
    for score in scores:
        assert score.total == pytest.approx(score.parts["colour"] + score.parts["brevity"] + model.bias, abs=1e-5)
    assert set(stage.figures["spearman_by_criterion"]) == {"colour", "brevity"}
    with pytest.raises(DataError, match="no answer is rated on 'wit'; the criteria are brevity, colour"):
        run(judgements(), "unknown", criteria={"wit": 1.0})


def test_reference_answers_fix_the_scale(run: Run, tmp_path: Path) -> None:
    rows = [{"prompt": question(word), "completion": text} for word in WORDS for text in ("it is red", "the cat")]
    file = write(tmp_path / "reference.jsonl", rows)
    stage = run(pairs(), reference=str(file), inputs={"reference": file})
    scores = score_items(RewardModel.load(stage.out / "model", CPU), [Item(r["prompt"], r["completion"]) for r in rows])
    mean = sum(scores) / len(scores)
    assert mean == pytest.approx(0, abs=1e-3)
    assert sum((s - mean) ** 2 for s in scores) / len(scores) == pytest.approx(1, abs=1e-2)


def test_what_has_no_effect_or_is_missing_is_refused(run: Run) -> None:
    with pytest.raises(RecipeError, match="holds labelled texts; set labels"):
        run(texts(lambda good, n: n), "a")
    with pytest.raises(RecipeError, match="holds judgements; remove labels"):
        run(pairs(), "b", labels={})
    with pytest.raises(RecipeError, match="single answers with a label; remove ratings"):
        run(thumbs(), "c", ratings={})
    with pytest.raises(RecipeError, match="margin is about pairs"):
        run(texts(lambda good, n: float(good)), "d", ratings={}, margin={})
    with pytest.raises(DataError, match="'fine' is neither pos or neg"):
        run(texts(lambda good, n: "fine" if good else "neg"), "e", labels={})
    for changes in (
        {"margin": {}, "loss": {"form": "pick_best"}},
        {"labels": {}, "template": "chat"},
        {"criteria": {"a": 1}, "margin": {}},
    ):
        with pytest.raises(ValueError, match="remove"):
            StageSettings.model_validate({"data": "x"} | changes)


def test_overlap_is_refused_or_dropped(run: Run) -> None:
    heldout = [{"prompt": question("dog"), "chosen": "red", "rejected": "blue"}, pairs()[0]]
    with pytest.raises(
        DataError, match=r"4 of 64 rows to train on share their prompt with held-out ones, for example 'what colour"
    ):
        run(pairs(), "refused", heldout=heldout)
    stage = run(pairs(), "dropped", heldout=heldout, overlap="drop", minimum_accuracy=0, epochs=1)
    assert stage.figures["comparisons"] == 60 and stage.figures["heldout_pairs"] == 2
    rows = [{**row, "root": str(number)} for number, row in enumerate(pairs())]  # one prompt under many roots
    with pytest.raises(DataError, match="Give them one root"):
        run(rows, "roots")


def test_too_long_prompts_lose_their_beginning_and_too_long_answers_are_left_out(run: Run) -> None:
    rows = pairs()
    rows[0]["prompt"] = "cat " * 80 + rows[0]["prompt"]
    rows[1]["chosen"] = "red " * 80
    stage = run(
        rows, heldout=[{"prompt": question("dog"), "chosen": "red", "rejected": "blue"}], minimum_accuracy=0, epochs=1
    )
    assert stage.figures["dropped_too_long"] == 1 and stage.figures["cut_prompts"] == 2
    assert stage.figures["comparisons"] == 63


def test_rows_limits_items_and_keeps_their_comparisons_together(run: Run) -> None:
    stage = run(rankings(contradictory=True), rows=6, minimum_accuracy=0, epochs=1)
    assert stage.figures["elements"] == 6 and stage.figures["comparisons"] == 30


def test_an_ensemble_says_where_its_members_disagree(run: Run, tmp_path: Path) -> None:
    from tuningfork.reward.base import RewardSources
    from tuningfork.stage import ResolvedInput

    stage = run(pairs(), members=2, epochs=3, minimum_accuracy=0)
    folder = stage.out / "model"
    members = [RewardModel.load(folder / f"member-{n}", CPU) for n in range(2)]
    items = [Item(question("cat"), text) for text in (*GOOD, *BAD)]
    one, two = (score_items(model, items) for model in members)
    assert one != two and [row["step"] for row in stage.events.rows] == list(range(1, 1 + len(stage.events.rows)))
    sources = RewardSources({"model": ResolvedInput(str(folder), "key", folder)}, CPU)
    for penalty in (0.0, 2.0):
        chosen = learned.Settings.model_validate({"model": str(folder), "disagreement": penalty})
        for score, a, b in zip(learned.load(chosen, sources).score(items), one, two, strict=True):
            assert score.parts["disagreement"] == pytest.approx(abs(a - b) / 2, abs=1e-5)
            assert score.total == pytest.approx((a + b) / 2 - penalty * abs(a - b) / 2, abs=1e-5)
    assert card(stage)["disagreement"]["mean"] > 0
    with pytest.raises(RecipeError, match="agrees with itself"):
        single = run(pairs(), "single", epochs=1, minimum_accuracy=0).out / "model"
        sources = RewardSources({"model": ResolvedInput(str(single), "key", single)}, CPU)
        learned.load(learned.Settings(model=str(single), disagreement=1.0), sources)


@pytest.mark.parametrize("gate", ["stop", "warn", "none"])
def test_the_gate_stops_what_only_knows_length(run: Run, gate: str) -> None:
    """People chose the longer answer throughout: the rule of length is right always, and nothing can beat it."""
    from tuningfork.reward.base import RewardSources
    from tuningfork.stage import ResolvedInput

    rows = [row | {"chosen": "red " * 9, "rejected": "red"} for row in pairs()]
    stage = run(rows, minimum_accuracy=0, epochs=2, card={"gate": gate, "rewrites": 0, "probes": 0, "words": False})
    assert "does not beat the rule 'longer wins'" in "\n".join(stage.events.said)
    gates = {one.name: one.passed for one in stage.gates}
    assert gates == {"accuracy": True} | ({"beats_length": False} if gate == "stop" else {})
    folder = stage.out / "model"
    sources = RewardSources({"model": ResolvedInput(str(folder), "key", folder)}, CPU)
    if gate != "none":
        with pytest.raises(RecipeError, match="says not to optimise on it: it does not beat 'longer wins'"):
            learned.load(learned.Settings(model=str(folder)), sources)
    assert learned.load(learned.Settings(model=str(folder), accept_failed_card=True), sources)


def test_another_reward_model_is_measured_on_the_same_comparisons(run: Run) -> None:
    full = run(pairs(), "full", epochs=3, minimum_accuracy=0).out / "model"
    stage = run(pairs(), "head", adapter={"kind": "frozen"}, epochs=1, minimum_accuracy=0, inputs={"card.compare": full},
                card={"gate": "none", "compare": str(full), "rewrites": 0, "probes": 0})  # fmt: skip
    found = card(stage)["compared"]
    assert found["gain"]["difference"] == pytest.approx(card(stage)["accuracy"]["share"] - found["share"])
    assert not found["trunk"]["can_be_shared"] and card(stage)["trunk"]["own_mb"] < 0.01


@pytest.mark.slow
def test_a_member_that_was_trained_before_a_cut_is_not_trained_again(
    run: Run, monkeypatch: pytest.MonkeyPatch, make_stage: Callable[..., Any]
) -> None:
    from tuningfork.reward_training import training

    settings: dict[str, Any] = {"members": 2, "epochs": 1, "minimum_accuracy": 0, "adapter": {"kind": "lora", "r": 2}}
    straight = run(pairs(), "straight", **settings)
    trained, honest = [], training._train

    def cut(stage: Any, *rest: Any) -> None:
        trained.append(stage.work.name)
        if len(trained) == 2:
            raise KeyboardInterrupt
        honest(stage, *rest)

    monkeypatch.setattr(training, "_train", cut)
    with pytest.raises(KeyboardInterrupt):
        run(pairs(), "cut", **settings)
    resumed = run(pairs(), "cut", **settings)
    assert trained == ["member-0", "member-1", "member-1"]
    for member in ("member-0", "member-1"):
        first, second = (stage.out / "model" / member for stage in (straight, resumed))
        for file in ("model.safetensors", "adapter/adapter_model.safetensors"):
            assert (first / file).read_bytes() == (second / file).read_bytes(), (member, file)
        facts = [json.loads((folder / "config.json").read_text())["tuningfork"] for folder in (first, second)]
        assert facts[0]["base"] == facts[1]["base"] is not None
