"""The one optimisation loop. Pretraining, SFT, reward models and RL differ only in the streams they give it.

An optimizer step takes one batch from every stream, adds up their weighted losses, clips, and steps. A loss is a sum of
token losses times weights that were normalised over the whole batch, so splitting a batch into micro-batches cannot
change the gradient. RL is a stream whose batches come from rollouts; the loop cannot tell it from SFT.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from tuningfork.errors import RunError
from tuningfork.randomness import derive_seed
from tuningfork.stage import Progress, StageContext
from tuningfork.tensors import reduce_metrics
from tuningfork.train.budget import Budget
from tuningfork.train.checkpoint import (
    load_checkpoint,
    optimizer_tensors,
    restore_optimizer,
    restore_tensors,
    save_checkpoint,
    trainable_tensors,
)
from tuningfork.train.optimizer import (
    budget_factor,
    build_optimizer,
    peak_learning_rate,
    schedule_factor,
    set_learning_rate,
)
from tuningfork.train.settings import OptimizerSettings


class Batch(Protocol):
    """Rows of tensors that can be cut into micro-batches."""

    @property
    def mask(self) -> Tensor:
        """(B, T), True on real tokens."""
        ...

    def __len__(self) -> int: ...
    def slice(self, rows: slice) -> Any: ...


@dataclass(frozen=True)
class LossOutput:
    """Loss of one micro-batch, a sum of losses times weights, and its metrics for `tensors.reduce_metrics`."""

    loss: Tensor
    metrics: dict[str, Tensor]
    mask: Tensor
    """the entries of the metrics that count, of their shape"""


class Stream(Protocol):
    """A named source of batches with its loss.

    `next_batch(step)` may return None: nothing to do at this step (RL that stopped its epochs early). `at_boundary`
    says whether `state()` describes everything between steps; the loop saves checkpoints only there.
    """

    name: str
    weight: float
    micro_batch: int | None

    @property
    def at_boundary(self) -> bool: ...
    def next_batch(self, step: int) -> Batch | None: ...
    def loss(self, batch: Any) -> LossOutput: ...
    def observe(self, metrics: Mapping[str, float]) -> dict[str, float]: ...
    def state(self) -> dict[str, Any]: ...
    def restore(self, state: Mapping[str, Any]) -> None: ...


class StatelessStream:
    """What a stream needs whose batches are a function of the step alone."""

    at_boundary = True

    def observe(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """Nothing to learn from a step's metrics."""
        return {}

    def state(self) -> dict[str, Any]:
        """Nothing to keep."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Nothing to restore."""


@dataclass(frozen=True)
class Hook:
    """Something to do every `every` steps, or whenever one of `shares` of the budget is spent, and after the last step:
    evaluate, sample. Its figures join the metrics; its time is not taken from the budget."""

    every: int | None
    run: Callable[[int], Mapping[str, float]]
    shares: Sequence[float] = ()

    def is_due(self, step: int, before: float, after: float) -> bool:
        """Whether it is time after `step` steps, the last of which took the share spent from `before` to `after`."""
        return (self.every is not None and step % self.every == 0) or any(before < at <= after for at in self.shares)


@dataclass
class Loop:
    """One training of `modules` for `num_steps` optimizer steps, or until a budget is spent. `streams[0]` is the main one."""

    stage: StageContext
    modules: Mapping[str, nn.Module]
    streams: Sequence[Stream]
    settings: OptimizerSettings
    num_steps: int | None
    """empty where there is a budget"""
    label: str = "train"
    budget: Budget | None = None
    """ends the training with the first step that exhausts it; the learning rate follows the share spent"""
    checkpoint_seconds: float = 60.0
    checkpoint_every: int | None = None
    hooks: Sequence[Hook] = ()
    is_over: Callable[[], bool] = lambda: False
    """asked after the hooks of each step; true ends the training there. What it says has to follow from what hooks saw"""

    def __post_init__(self) -> None:
        assert (self.num_steps is None) != (self.budget is None), "a training ends with its steps or with its budget"
        self.peak = peak_learning_rate(self.modules, self.settings)
        if self.settings.learning_rate == "usual":
            self.stage.events.say(
                f"learning rate {self.peak:.2g}, as is usual for this model and what is trained of it"
            )
        self.optimizer = build_optimizer(self.modules, self.settings)
        self.scaler = torch.amp.GradScaler(enabled=self.stage.runtime.precision == "fp16")  # pyright: ignore[reportPrivateImportUsage]
        self.parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        self._saved_at = time.monotonic()
        self.last_step = 0

    def run(self) -> dict[str, float]:
        """Train to the end, resuming from the newest checkpoint; returns the last step's metrics."""
        step, metrics = self._resume(), dict[str, float]()
        with self._progress(step) as bar:
            while not self._is_done(step):
                started, before = time.monotonic(), self._spent
                with self.budget.spending() if self.budget else nullcontext():
                    metrics = self._train_step(step)
                step += 1
                if metrics:
                    metrics["seconds"] = time.monotonic() - started
                for hook in self.hooks:
                    if self._is_done(step) or hook.is_due(step, *self._shares(before)):
                        metrics |= hook.run(step)
                if metrics:
                    self.stage.events.log(step=step, **metrics, **({"spent": self._spent} if self.budget else {}))
                shown = {k: v for k, v in metrics.items() if k in ("loss", "score_mean", "kl")}
                bar.advance(self._spent - before if self.budget else 1, **shown)
                if self.is_over():
                    break  # without a checkpoint: a resumed run comes here again, and does not go on
                self._save_if_due(step)
        self.last_step = step
        return metrics

    @property
    def _spent(self) -> float:
        return self.budget.spent if self.budget else 0.0

    def _shares(self, before: float) -> tuple[float, float]:
        """Shares of the budget spent, when `before` seconds were and now."""
        return (before / self.budget.seconds, self.budget.share) if self.budget else (0.0, 0.0)

    def _is_done(self, step: int) -> bool:
        return self.budget.is_spent if self.budget else step >= (self.num_steps or 0)

    def _progress(self, step: int) -> Progress:
        if self.budget:
            return self.stage.events.progress(self.budget.seconds, self.label, "second", done=self.budget.spent)
        return self.stage.events.progress(self.num_steps or 0, self.label, done=step)

    def _learning_rate(self, step: int) -> float:
        if self.budget:
            return self.peak * budget_factor(step, self.budget.share, self.settings)
        return self.peak * schedule_factor(step, self.num_steps or 0, self.settings)

    def _train_step(self, step: int) -> dict[str, float]:
        learning_rate = self._learning_rate(step)
        set_learning_rate(self.optimizer, learning_rate)
        torch.manual_seed(derive_seed(self.stage.seed, "dropout", step))  # the only draw torch makes by itself
        metrics: dict[str, float] = {"learning_rate": learning_rate, "samples": 0, "tokens": 0}
        for index, stream in enumerate(self.streams):
            batch = stream.next_batch(step)
            if batch is None and index == 0:
                return {}
            if batch is not None:
                prefix = "" if index == 0 else f"{stream.name}/"
                metrics["samples"] += len(batch)
                metrics["tokens"] += int(batch.mask.sum())
                metrics |= {prefix + name: value for name, value in self._backward(stream, batch).items()}
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self.parameters, self.settings.clip_norm or float("inf"))
        metrics["gradient_norm"] = float(norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        return metrics | self.streams[0].observe(metrics)

    def _backward(self, stream: Stream, batch: Batch) -> dict[str, float]:
        """Accumulate the gradient of one stream's batch; returns its metrics."""
        size = stream.micro_batch or len(batch)
        loss, parts = 0.0, []
        for start in range(0, len(batch), size):
            with self.stage.runtime.autocast():
                output = stream.loss(batch.slice(slice(start, start + size)))
            self.scaler.scale(output.loss * stream.weight).backward()
            loss += float(output.loss.detach())
            parts.append((output.metrics, output.mask))
        if not math.isfinite(loss):
            raise RunError(
                f"the loss of {stream.name!r} became {loss}; lower the learning rate, the run resumes from its last checkpoint"
            )
        return {"loss": loss} | reduce_metrics(parts)

    def _resume(self) -> int:
        checkpoint = load_checkpoint(self.stage.work)
        if checkpoint is None:
            return 0
        restore_tensors(self.modules, checkpoint.tensors)
        restore_optimizer(self.optimizer, checkpoint.tensors)
        self.scaler.load_state_dict(checkpoint.state["scaler"])
        for stream in self.streams:
            stream.restore(checkpoint.state["streams"][stream.name])
        self.stage.events.rewind(checkpoint.step)
        if self.budget:
            self.budget.spent = checkpoint.state["spent"]
            where = f", {self.budget.spent:.1f} of {self.budget.seconds:g} s are spent"
        else:
            where = f" of {self.num_steps}"
        self.stage.events.say(f"{self.label}: resumed after step {checkpoint.step}{where}")
        return checkpoint.step

    def _save_if_due(self, step: int) -> None:
        stopping = self.stage.stop.is_set
        if self._is_done(step) or not all(stream.at_boundary for stream in self.streams):
            return
        by_steps = self.checkpoint_every is not None and step % self.checkpoint_every == 0
        if stopping or by_steps or time.monotonic() - self._saved_at > self.checkpoint_seconds:
            self.save(step)
        self.stage.stop.check()

    def save(self, step: int) -> None:
        """Write a checkpoint of everything a resumed run needs."""
        save_checkpoint(
            self.stage.work,
            step,
            {**trainable_tensors(self.modules), **optimizer_tensors(self.optimizer)},
            {
                "scaler": self.scaler.state_dict(),
                "streams": {s.name: s.state() for s in self.streams},
                "spent": self._spent,
            },
        )
        self._saved_at = time.monotonic()
