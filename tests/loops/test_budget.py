"""A budget of computing time: what ends the training, what is counted, and that a cut run keeps what it spent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tuningfork.batch import TokenBatch
from tuningfork.errors import Interrupted, RunError
from tuningfork.train.budget import Budget, compute_clock, open_budget, preparing
from tuningfork.train.loop import Hook, Loop, LossOutput, StatelessStream
from tuningfork.train.optimizer import budget_factor
from tuningfork.train.settings import OptimizerSettings

FLAT = OptimizerSettings(learning_rate=0.02, schedule="linear", floor=0.0, warmup=0)


class Clock:
    """A clock that each batch moves by a second."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Slow(StatelessStream):
    """Random numbers to fit whose batches take a second each."""

    name, weight = "main", 1.0
    micro_batch: int | None = None

    def __init__(self, model: nn.Module, clock: Clock) -> None:
        self.model, self.clock = model, clock

    def next_batch(self, step: int) -> TokenBatch:
        self.clock.now += 1.0
        x = torch.randn(8, 4, generator=torch.Generator().manual_seed(step), dtype=torch.float64)
        return TokenBatch(ids=x, mask=torch.ones(8, 4, dtype=torch.bool), loss_weights=torch.full((8, 4), 1 / 32))

    def loss(self, batch: TokenBatch) -> LossOutput:
        error = (self.model(batch.ids) - batch.ids.sum(-1, keepdim=True)).square().expand(-1, 4)
        return LossOutput((error * batch.loss_weights).sum(), {"error": error.detach()}, batch.mask)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(4, 1).double()


def train(stage: Any, seconds: float, hooks: list[Hook] | None = None, **options: Any) -> Loop:
    clock, model = Clock(), network()
    loop = Loop(stage, {"policy": model}, [Slow(model, clock)], FLAT, None, budget=Budget(seconds, clock), **options)
    loop.hooks = hooks or []
    loop.run()
    return loop


def test_it_ends_with_the_step_that_exhausts_it(make_stage: Any) -> None:
    stage = make_stage()
    loop = train(stage, 4.5)
    assert loop.last_step == 5 and loop.budget is not None and loop.budget.spent == 5.0
    assert [row["spent"] for row in stage.events.rows] == [1, 2, 3, 4, 5]


def test_the_learning_rate_follows_what_is_spent(make_stage: Any) -> None:
    stage = make_stage()
    train(stage, 4.0)
    rates = [row["learning_rate"] / 0.02 for row in stage.events.rows]
    assert rates == pytest.approx([1.0, 0.75, 0.5, 0.25])  # 1 - share spent before the step


def test_warm_up_in_shares_and_in_steps() -> None:
    share = OptimizerSettings(schedule="linear", floor=0.0, warmup=0.2)
    assert [budget_factor(9, spent, share) for spent in (0.0, 0.1, 0.2, 0.6, 1.0)] == pytest.approx([0, 0.5, 1, 0.5, 0])
    steps = OptimizerSettings(schedule="constant", warmup=4)
    assert [budget_factor(step, 0.9, steps) for step in (0, 1, 3, 9)] == [0.25, 0.5, 1.0, 1.0]


def test_looks_are_free_and_come_at_their_shares(make_stage: Any) -> None:
    seen: list[int] = []
    clock, model = Clock(), network()

    def look(step: int) -> dict[str, float]:
        clock.now += 100.0
        seen.append(step)
        return {}

    budget, hooks = Budget(10.0, clock), [Hook(None, look, (0.25, 0.5, 0.55))]
    Loop(make_stage(), {"policy": model}, [Slow(model, clock)], FLAT, None, budget=budget, hooks=hooks).run()
    assert seen == [3, 5, 6, 10] and budget.spent == 10.0  # 0.25 and 0.55 are passed by steps 3 and 6; the last has one


def test_a_cut_run_keeps_what_it_spent(make_stage: Any) -> None:
    stage = make_stage("cut")
    stage.events.on_log = lambda step: stage.stop.set("test") if step == 3 else None
    with pytest.raises(Interrupted):
        train(stage, 6.0, checkpoint_every=1)
    again = make_stage("cut")
    loop = train(again, 6.0)
    assert (
        [row["step"] for row in again.events.rows] == [4, 5, 6] and loop.budget is not None and loop.budget.spent == 6.0
    )
    assert any("resumed after step 3, 3.0 of 6 s are spent" in text for text in again.events.said)
    straight = train(make_stage("straight"), 6.0)
    for a, b in zip(loop.parameters, straight.parameters, strict=True):
        assert torch.equal(a, b)  # with a clock that counts steps even the bits agree


def test_preparation_is_counted_once_however_often_it_is_cut(tmp_path: Path) -> None:
    clock = Clock()
    for cost in (7.0, 0.5):  # the second time what was prepared is found
        budget = Budget(60.0, clock)
        with preparing(budget, tmp_path / "seconds.json"):
            clock.now += cost
        assert budget.spent == 7.0
    with preparing(None, tmp_path / "other.json"):
        pass
    assert not (tmp_path / "other.json").exists()


def test_what_an_earlier_stage_spent_is_taken_off() -> None:
    budget = open_budget(60.0, "cpu", before=20.0)
    assert budget is not None and budget.share == pytest.approx(1 / 3)
    with pytest.raises(RunError, match="spent before training began"):
        open_budget(60.0, "cpu", before=60.0)
    assert open_budget(None, "cpu") is None


def test_processor_time_is_counted_and_waiting_is_not() -> None:
    import time

    clock = compute_clock("cpu")
    started = clock()
    time.sleep(0.2)
    assert clock() - started < 0.1
    wall = time.perf_counter()
    while time.perf_counter() - wall < 0.3:
        pass
    assert clock() > started
