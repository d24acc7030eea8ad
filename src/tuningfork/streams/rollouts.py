"""Reinforcement learning as a stream of batches: sample, score, compare with the reference, then epochs of mini-batches.

One iteration, in this order: sample responses; score them; one forward each of the policy (log-probs and values) and of
the reference; shape rewards with the current KL coefficient; advantages; epochs of shuffled mini-batches; then the
coefficient moves. What a method does not need (see `Needs`) is not computed. The loop sees batches and cannot tell this
from supervised training.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from tuningfork.batch import Batch, Experience, Needs, PolicyBatch
from tuningfork.errors import RunError
from tuningfork.methods import kl, shaping
from tuningfork.methods.average import average_weights
from tuningfork.methods.baseline import MovingAverage
from tuningfork.methods.policy import PolicyMethod
from tuningfork.model.backbone import Backbone
from tuningfork.randomness import generator
from tuningfork.rollout.rollout import RolloutBatch, collate
from tuningfork.streams.collection import Collected, Collector, ScoredRollouts, ShapedScores
from tuningfork.tensors import at_least_fp32, at_targets, entropy, masked_mean, masked_sum, predictors, token_logprobs
from tuningfork.train.loop import LossOutput

IDENTITY_TOLERANCE = {"fp32": 1e-4, "bf16": 5e-2, "fp16": 5e-2}
"""Largest difference of a token's log-probability between two forwards that should agree, in nats."""

MEAN_TOLERANCE = 2e-2
"""The same for the mean over tokens, which is what is held in bf16 and fp16: a forward of other rows rounds another way,
and among thousands of tokens the largest difference is as large as a fault would make it; the mean is not."""


@dataclass(frozen=True, kw_only=True)
class ExperienceRows(Batch):
    """Sampled responses with everything that is fixed before the first update; rows of a mini-batch are cut from it.

    ids, mask (real tokens), response_mask, and old_logprobs, ref_logprobs, old_values, advantages, returns, weights are all
    (B, T); an entry belongs to the token in its own column.
    """

    ids: Tensor
    mask: Tensor
    response_mask: Tensor
    old_logprobs: Tensor
    advantages: Tensor
    weights: Tensor
    ref_logprobs: Tensor | None = None
    old_values: Tensor | None = None
    returns: Tensor | None = None


@dataclass(frozen=True)
class Forward:
    """One forward over prompts and responses: log-probs, values and entropy (B, T) at the responses' tokens, 0 elsewhere."""

    logprobs: Tensor
    values: Tensor | None
    entropy: Tensor | None


@dataclass
class Actor:
    """The policy with its critic, and the reference it is held to."""

    backbone: Backbone
    value_head: nn.Module | None

    def forward(
        self, batch: ExperienceRows | RolloutBatch, needs: Needs, temperature: float, *, reference: bool = False
    ) -> Forward:
        """Log-probs of the responses under the policy, or the reference, at the sampling temperature.

        The value and the log-prob of a token come from the hidden state BEFORE it: column t - 1 predicts column t.
        """
        with self.backbone.role("reference" if reference else "policy"):
            hidden = self.backbone.hidden(batch.ids, batch.mask)
            before = predictors(hidden, batch.response_mask)  # (N, D)
            logits = self.backbone.lm_head(before)
        targets = batch.ids[batch.response_mask]
        with torch.autocast(logits.device.type, enabled=False):
            logprobs = token_logprobs(logits[None], targets[None], temperature)[0]
            wants_entropy = not reference and (
                needs.entropy or not torch.is_grad_enabled()
            )  # free when sampling is read
            bonus = entropy(logits[None], temperature)[0] if wants_entropy else None
            values = None
            if needs.values and not reference:
                assert self.value_head is not None
                values = at_least_fp32(self.value_head(at_least_fp32(before)))
        columns = batch.response_mask
        return Forward(
            at_targets(logprobs, columns),
            None if values is None else at_targets(values, columns),
            None if bonus is None else at_targets(bonus, columns),
        )


class RolloutStream:
    """The main stream of an RL stage; see the module's docstring for the order of operations."""

    weight = 1.0
    name = "policy"

    def __init__(
        self,
        *,
        actor: Actor,
        method: PolicyMethod,
        settings: Any,
        collector: Collector,
        controller: kl.FixedKL | kl.AdaptiveKL,
        precision: str,
        seed: int,
        micro_batch: int | None = None,
        on_rollouts: Callable[[int, ScoredRollouts], None] | None = None,
    ) -> None:
        self.actor, self.method, self.settings = actor, method, settings
        self.needs = method.needs(settings)
        self.collector, self.plan, self.on_rollouts = collector, collector.plan, on_rollouts
        self.controller = self.next_controller = controller
        self.average = self.next_average = MovingAverage(self.needs.moving_average or 0.0)
        self.tolerance, self.seed, self.micro_batch = IDENTITY_TOLERANCE[precision], seed, micro_batch
        self.position = 0
        self.is_stopped_early = False
        self.experience: ExperienceRows | None = None
        self.report: dict[str, float] = {}

    @property
    def at_boundary(self) -> bool:
        return self.position % self.plan.steps_per_iteration == 0

    def next_batch(self, step: int) -> ExperienceRows | None:
        iteration, inner = divmod(step, self.plan.steps_per_iteration)
        self.position = step + 1
        if inner == 0:
            self.experience = self._collect(iteration)
            self.is_stopped_early = False
        if self.is_stopped_early:
            return None
        assert self.experience is not None
        epoch, index = divmod(inner, self.plan.minibatches)
        order = torch.randperm(len(self.experience), generator=generator(self.seed, "minibatch", iteration, epoch))
        rows = order.tensor_split(self.plan.minibatches)[index].to(self.experience.ids.device)
        chosen = self.experience.slice(rows)  # pyright: ignore[reportArgumentType]
        if not bool(chosen.response_mask.any()):
            return None  # fewer responses than mini-batches, or none of these could be scored
        length = self.plan.max_new_tokens if self.method.average == "constant" else None
        return replace(chosen, weights=average_weights(chosen.weights, self.method.average, length))

    def loss(self, batch: ExperienceRows) -> LossOutput:
        new = self.actor.forward(batch, self.needs, self.plan.temperature)
        losses, metrics = self.method.token_loss(
            PolicyBatch(
                logprobs=new.logprobs,
                old_logprobs=batch.old_logprobs,
                advantages=batch.advantages,
                mask=batch.response_mask,
                weights=batch.weights,
                returns=batch.returns,
                values=new.values,
                old_values=batch.old_values,
                ref_logprobs=batch.ref_logprobs,
                entropy=new.entropy,
                kl_coefficient=self.controller.coefficient,
            ),
            self.settings,
        )
        gap = (new.logprobs.detach() - batch.old_logprobs).abs()
        metrics = metrics | {"old_new_gap": gap, "old_new_gap_max": gap}
        return LossOutput((losses * batch.weights).sum(), metrics, batch.response_mask)

    def observe(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """Assert the identity of the first inner step, end epochs that went too far, and report the iteration once."""
        if (self.position - 1) % self.plan.steps_per_iteration == 0:
            self._assert_same_policy(metrics)
        target_kl = getattr(self.settings, "target_kl", None)
        if target_kl is not None and metrics["approx_kl"] > target_kl:
            self.is_stopped_early = True
        report, self.report = self.report, {}
        return report

    def _assert_same_policy(self, metrics: Mapping[str, float]) -> None:
        is_exact = self.tolerance == IDENTITY_TOLERANCE["fp32"]
        statistic, limit = ("old_new_gap_max", self.tolerance) if is_exact else ("old_new_gap", MEAN_TOLERANCE)
        if metrics[statistic] > limit:
            raise RunError(
                f"before any update the policy's log-probs differ by {metrics[statistic]:.2g} nats from those recorded "
                f"(limit {limit:.0e}, {'at most' if is_exact else 'in the mean'}): usual causes are dropout, another "
                "temperature, a shifted mask, or a model that is not deterministic; set precision: fp32 to tell numerical "
                "noise from a fault"
            )

    def state(self) -> dict[str, Any]:
        return {
            "position": self.position,
            "controller": self.next_controller.state(),
            "average": self.next_average.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self.position = state["position"]
        self.controller = self.next_controller = self.controller.restored(state["controller"])
        self.average = self.next_average = self.average.restored(state["average"])

    def _collect(self, iteration: int) -> ExperienceRows:
        self.controller, self.average = self.next_controller, self.next_average
        started = time.monotonic()
        collected = self.collector(iteration)
        if self.on_rollouts:
            self.on_rollouts(iteration, collected.sampled)
        if all(score is None for score in collected.kept.scores):
            raise RunError(
                f"none of the {len(collected.kept.scores)} responses of iteration {iteration + 1} could be scored: see to "
                "the reward; the run resumes from its last checkpoint"
            )
        sampled = time.monotonic()
        report = self.collector.describe(collected.sampled)
        experience, figures = self._make_experience(collected, iteration)
        report |= figures
        self.report = report | {
            "iteration": iteration + 1,
            "rollout_seconds": sampled - started,
            "scoring_seconds": time.monotonic() - sampled,
        }
        if "kl" in report:
            self.next_controller = self.controller.update(report["kl"], self.plan.episodes_per_iteration)
        if self.needs.moving_average is not None:
            self.next_average = self.average.update(report["return_mean"])
        return experience

    def _prefix_scores(self, scored: ScoredRollouts, mask: Tensor) -> Tensor | None:
        """Normalised scores (B, T + 1) of every prefix of the responses in their columns; None without such scores."""
        if all(prefixes is None for prefixes in scored.prefixes):
            return None
        table = torch.zeros(mask.shape[0], mask.shape[1] + 1, device=mask.device)
        for row, prefixes in enumerate(scored.prefixes):
            columns = mask[row].nonzero().flatten()
            if prefixes is not None and len(columns):
                assert len(prefixes) == len(columns) + 1, "a prefix score for the prompt and each response token"
                first = int(columns[0])
                table[row, first : first + len(prefixes)] = torch.tensor(prefixes, device=mask.device)
                table[row, :first] = prefixes[0]
        return shaping.normalise(table, self.collector.score_mean, self.collector.score_deviation)

    @torch.no_grad()
    def _make_experience(self, collected: Collected, iteration: int) -> tuple[ExperienceRows, dict[str, float]]:
        rows = collate(collected.kept.rollouts, self.actor.backbone.pad_id).to(self.actor.backbone.device)
        old = self._forward(rows)
        ref = self._forward(rows, reference=True) if self.needs.reference else None
        shaped = self.collector.shape(collected.kept)
        mask = rows.response_mask & shaped.is_scored[:, None]
        baselines = None if collected.greedy_scores is None else collected.greedy_scores[rows.groups]
        if self.needs.moving_average is not None:
            baselines = torch.full_like(shaped.scores, self.average.value)
        advantages, report = self.method.advantages(
            Experience(
                scores=shaped.scores,
                old_logprobs=old.logprobs,
                mask=mask,
                ref_logprobs=None if ref is None else ref.logprobs,
                values=old.values,
                groups=rows.groups,
                baselines=baselines,
                prefix_scores=self._prefix_scores(collected.kept, mask),
                max_length=self.plan.max_new_tokens,
                kl_coefficient=self.controller.coefficient,
            ),
            self.settings,
        )
        if ref is not None:
            report |= self._describe_kl(old.logprobs, ref.logprobs, mask, shaped, iteration)
        lengths = mask.sum(-1).float()
        report["response_length"] = float(lengths[shaped.is_scored].mean())
        report["response_length_max"] = float(lengths.max())
        if old.entropy is not None:
            report["entropy"] = float(masked_mean(old.entropy, mask))
        report["sampler_gap"] = self._sampler_gap(rows, old.logprobs)
        return (
            ExperienceRows(
                ids=rows.ids,
                mask=rows.mask,
                response_mask=mask,
                old_logprobs=old.logprobs,
                ref_logprobs=None if ref is None else ref.logprobs,
                old_values=old.values,
                advantages=advantages.advantages,
                returns=advantages.returns,
                weights=mask.float(),
            ),
            report,
        )

    def _describe_kl(
        self, logprobs: Tensor, ref_logprobs: Tensor, mask: Tensor, shaped: ShapedScores, iteration: int
    ) -> dict[str, float]:
        """Metrics of KL to the reference; asserts that there is none before the first update."""
        per_token = kl.k1(logprobs, ref_logprobs)
        if iteration == 0 and float(per_token.abs().max()) > self.tolerance:
            raise RunError(
                f"at the start the policy differs from its reference by {float(per_token.abs().max()):.2g} nats a token (limit "
                f"{self.tolerance:.0e}): usual causes are an adapter that does not start at zero, dropout, or a wrong reference"
            )
        per_response = masked_sum(per_token, mask, -1)
        price = self.controller.coefficient * per_response
        return {
            "reward_mean": float((shaped.scores - price)[shaped.is_scored].mean()),
            "kl": float(per_response[shaped.is_scored].mean()),
            "kl_per_token": float(masked_mean(per_token, mask)),
            "kl_coefficient": self.controller.coefficient,
        }

    def _forward(self, rows: RolloutBatch, *, reference: bool = False) -> Forward:
        size = self.micro_batch or len(rows)
        parts = [
            self.actor.forward(rows.slice(slice(a, a + size)), self.needs, self.plan.temperature, reference=reference)
            for a in range(0, len(rows), size)
        ]
        return Forward(
            torch.cat([part.logprobs for part in parts]),
            _join([part.values for part in parts]),
            _join([part.entropy for part in parts]),
        )

    @staticmethod
    def _sampler_gap(rows: RolloutBatch, old_logprobs: Tensor) -> float:
        """Largest difference between the log-probs the sampler reported and those of the training forward."""
        return float((old_logprobs - rows.sampled_logprobs)[rows.response_mask].abs().max())


def _join(parts: Sequence[Tensor | None]) -> Tensor | None:
    """Micro-batches as one; None where nothing was computed."""
    known = [part for part in parts if part is not None]
    return torch.cat(known) if known else None
