"""The optimisation loop: what it trains, what it leaves alone, and that it goes on exactly where it was cut."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tuningfork.batch import TokenBatch
from tuningfork.data.rows import RowOrder
from tuningfork.errors import Interrupted, ModelError, RunError
from tuningfork.train.checkpoint import load_checkpoint
from tuningfork.train.loop import Hook, Loop, LossOutput, StatelessStream
from tuningfork.train.optimizer import build_optimizer, peak_learning_rate, schedule_factor
from tuningfork.train.settings import OptimizerSettings

Make = Callable[..., Any]


@dataclass
class Regression(StatelessStream):
    """Fit random targets: rows of unequal weight, so that a mean of means would show."""

    model: nn.Module
    name: str = "main"
    weight: float = 1.0
    micro_batch: int | None = None
    rows: int = 8

    def next_batch(self, step: int) -> TokenBatch:
        generator = torch.Generator().manual_seed(step)
        x = torch.randn(self.rows, 4, generator=generator, dtype=torch.float64)
        weights = torch.rand(self.rows, 4, generator=generator, dtype=torch.float64)
        return TokenBatch(ids=x, mask=torch.ones(self.rows, 4, dtype=torch.bool), loss_weights=weights / weights.sum())

    def loss(self, batch: TokenBatch) -> LossOutput:
        error = (
            self.model(batch.ids.to(next(self.model.parameters()).dtype)) - batch.ids.sum(-1, keepdim=True)
        ).square()
        losses = error.expand(-1, 4)
        return LossOutput((losses * batch.loss_weights).sum(), {"error": losses.detach()}, batch.mask)


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1)).double()


def train(stage: Any, model: nn.Module, steps: int = 12, **options: Any) -> dict[str, float]:
    settings = OptimizerSettings(learning_rate=0.02, weight_decay=0.1)
    stream = Regression(model, micro_batch=options.pop("micro_batch", None))
    return Loop(stage, {"policy": model}, [stream, *options.pop("more", [])], settings, steps, **options).run()


def parameters(model: nn.Module) -> list[list[float]]:
    return [parameter.detach().flatten().tolist() for parameter in model.parameters()]


@pytest.mark.parametrize("size", [1, 3, 5])
def test_micro_batches_do_not_change_the_gradient(make_stage: Make, size: int) -> None:
    whole, split = network(), network()
    train(make_stage("whole"), whole, steps=1)
    train(make_stage("split"), split, steps=1, micro_batch=size)
    for a, b in zip(whole.parameters(), split.parameters(), strict=True):
        assert torch.allclose(a, b, rtol=1e-12, atol=0)


def test_metrics_do_not_depend_on_the_split(make_stage: Make) -> None:
    whole = train(make_stage("whole"), network(), steps=1)
    split = train(make_stage("split"), network(), steps=1, micro_batch=3)
    assert split["error"] == pytest.approx(whole["error"], rel=1e-12)
    assert split["loss"] == pytest.approx(whole["loss"], rel=1e-12)
    assert split["samples"] == whole["samples"] == 8
    assert split["tokens"] == whole["tokens"] == 32


def test_a_cut_run_goes_on_to_the_same_bits(make_stage: Make) -> None:
    straight = network()
    expected = train(make_stage("straight"), straight)
    stage, model = make_stage("cut"), network()
    stage.events.on_log = lambda step: stage.stop.set("test") if step == 5 else None
    with pytest.raises(Interrupted, match="resumes"):
        train(stage, model)
    again, resumed = make_stage("cut"), network(seed=1)  # other weights: all must come from the checkpoint
    last = train(again, resumed)
    assert parameters(resumed) == parameters(straight)
    assert {k: v for k, v in last.items() if k != "seconds"} == {k: v for k, v in expected.items() if k != "seconds"}
    assert [row["step"] for row in again.events.rows] == list(range(6, 13))


def test_a_damaged_checkpoint_costs_one_checkpoint(make_stage: Make) -> None:
    straight = network()
    train(make_stage("straight"), straight)
    stage = make_stage("cut")
    stage.events.on_log = lambda step: stage.stop.set("test") if step == 8 else None
    with pytest.raises(Interrupted):
        train(stage, network(), checkpoint_every=4)
    newest = max(stage.work.glob("step-*"))
    content = (newest / "tensors.safetensors").read_bytes()
    (newest / "tensors.safetensors").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    found = load_checkpoint(stage.work)
    assert found is not None and found.step == 4
    resumed = network(seed=1)
    train(make_stage("cut"), resumed)
    assert parameters(resumed) == parameters(straight)


def test_a_checkpoint_without_its_marker_is_not_one(make_stage: Make) -> None:
    stage = make_stage("cut")
    stage.events.on_log = lambda step: stage.stop.set("test") if step == 3 else None
    with pytest.raises(Interrupted):
        train(stage, network())
    for marker in stage.work.glob("step-*/complete.json"):
        marker.unlink()
    assert load_checkpoint(stage.work) is None


def test_the_second_stream_counts_by_its_weight(make_stage: Make) -> None:
    one, two = network(), network()
    train(make_stage("one"), one, steps=1, more=[Regression(one, "replay", weight=0.0)])
    train(make_stage("two"), two, steps=1)
    assert parameters(one) == parameters(two)
    three = network()
    metrics = train(make_stage("three"), three, steps=1, more=[Regression(three, "replay", weight=2.0)])
    assert metrics["replay/loss"] == pytest.approx(metrics["loss"])
    assert metrics["samples"] == 16


def test_frozen_parameters_stay_frozen(make_stage: Make) -> None:
    model = network()
    model[0].requires_grad_(False)
    before = parameters(model)
    train(make_stage(), model)
    after = parameters(model)
    assert after[:2] == before[:2]
    assert after[2] != before[2]


def test_nothing_to_train_is_refused(make_stage: Make) -> None:
    with pytest.raises(ModelError, match="nothing to train"):
        train(make_stage(), network().requires_grad_(False))


def test_a_loss_that_is_not_finite_stops_the_run(make_stage: Make) -> None:
    model = network()
    with torch.no_grad():
        list(model.parameters())[-1].fill_(math.nan)
    with pytest.raises(RunError, match="became nan"):
        train(make_stage(), model)


def test_hooks_run_on_time_and_join_the_metrics(make_stage: Make) -> None:
    seen: list[int] = []
    stage = make_stage()
    train(stage, network(), steps=7, hooks=[Hook(3, lambda step: seen.append(step) or {"looked": float(step)})])
    assert seen == [3, 6, 7]
    assert [row.get("looked") for row in stage.events.rows] == [None, None, 3.0, None, None, 6.0, 7.0]


def test_training_fits(make_stage: Make) -> None:
    stage = make_stage()
    train(stage, network(), steps=300)
    assert stage.events.rows[-1]["loss"] < 0.05 * stage.events.rows[0]["loss"]


def test_schedules() -> None:
    cosine = OptimizerSettings(warmup=4, floor=0.1)
    factors = [schedule_factor(step, 24, cosine) for step in range(24)]
    assert factors[:4] == [0.25, 0.5, 0.75, 1.0]
    assert factors[-1] == pytest.approx(0.1)
    # half way between the warm-up's end and the last step the cosine is at the middle of peak and floor
    assert schedule_factor(4, 5 + 4, OptimizerSettings(warmup=4, floor=0.2)) == pytest.approx(1.0)
    assert schedule_factor(6, 5 + 4, OptimizerSettings(warmup=4, floor=0.2)) == pytest.approx(0.6)
    linear = OptimizerSettings(warmup=0, floor=0.0, schedule="linear")
    assert [schedule_factor(step, 5, linear) for step in range(5)] == pytest.approx([1.0, 0.75, 0.5, 0.25, 0.0])
    constant = OptimizerSettings(warmup=0.5, schedule="constant")
    assert [schedule_factor(step, 4, constant) for step in range(4)] == [0.5, 1.0, 1.0, 1.0]


def test_rates_and_decay_by_kind_of_parameter() -> None:
    model = nn.Sequential(nn.Embedding(3, 2), nn.Linear(2, 2))
    head = nn.Linear(2, 1)
    settings = OptimizerSettings(learning_rate=0.1, embedding_multiplier=2, head_multiplier=5, weight_decay=0.3)
    optimizer = build_optimizer({"policy": model, "value": head}, settings)
    found = {
        name: (group["multiplier"], group["weight_decay"])
        for group in optimizer.param_groups
        for parameter in group["params"]
        for name, other in [*model.named_parameters("body"), *head.named_parameters("head")]
        if other is parameter
    }
    assert found == {
        "body.0.weight": (2.0, 0.0),
        "body.1.weight": (1.0, 0.3),
        "body.1.bias": (1.0, 0.0),
        "head.weight": (5.0, 0.3),
        "head.bias": (5.0, 0.0),
    }


def test_row_order_visits_every_row_once_an_epoch() -> None:
    order = RowOrder(10, 4, seed=3, purpose="rows")
    visited = [index for step in range(5) for index in order.indices(step)]
    assert sorted(visited[:10]) == sorted(visited[10:20]) == list(range(10))
    assert visited[:10] != visited[10:20]
    assert RowOrder(10, 4, seed=3, purpose="rows").indices(3) == order.indices(3)
    assert RowOrder(10, 4, seed=4, purpose="rows").indices(0) != order.indices(0)


def test_row_order_does_not_depend_on_the_batch_size() -> None:
    small, large = RowOrder(7, 2, seed=0, purpose="rows"), RowOrder(7, 6, seed=0, purpose="rows")
    assert [i for step in range(3) for i in small.indices(step)] == large.indices(0)


def test_checkpoints_are_few(make_stage: Make) -> None:
    stage = make_stage()
    train(stage, network(), steps=12, checkpoint_every=2)
    assert [path.name for path in sorted(Path(stage.work).glob("step-*"))] == ["step-00000008", "step-00000010"]


def test_a_usual_learning_rate_follows_size_and_what_is_trained(make_stage: Make) -> None:
    settings = OptimizerSettings(learning_rate="usual", schedule="constant", warmup=0)
    stage, model = make_stage("usual"), network()
    metrics = Loop(stage, {"policy": model}, [Regression(model)], settings, 1).run()
    assert metrics["learning_rate"] == 1e-3 and any("learning rate 0.001" in text for text in stage.events.said)
    large = nn.Linear(20_000, 5_000, bias=False, device="meta")  # 10^8 parameters: 2e-5 times the root of ten
    assert peak_learning_rate({"policy": large}, settings) == pytest.approx(2e-5 * 10**0.5)
    assert peak_learning_rate({"policy": nn.ModuleDict({"lora_A": large})}, settings) == pytest.approx(2e-4 * 10**0.5)
