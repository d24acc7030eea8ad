"""What one iteration of RL samples, and what of it is trained on: responses, their shaped scores, greedy baselines."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from tuningfork.batch import Needs
from tuningfork.data.rows import RowOrder
from tuningfork.methods import shaping
from tuningfork.methods.advantage import compare_in_groups, flat_share
from tuningfork.rollout.rollout import Rollout


@dataclass(frozen=True)
class Plan:
    """How much of everything an RL run does."""

    iterations: int | None
    """empty where a budget ends the run"""
    prompts_per_iteration: int
    samples_per_prompt: int
    minibatches: int
    epochs: int
    temperature: float
    max_new_tokens: int

    @property
    def episodes_per_iteration(self) -> int:
        return self.prompts_per_iteration * self.samples_per_prompt

    @property
    def steps_per_iteration(self) -> int:
        return self.epochs * self.minibatches

    @property
    def num_steps(self) -> int | None:
        return None if self.iterations is None else self.iterations * self.steps_per_iteration


@dataclass(frozen=True)
class ScoredRollouts:
    """Responses and their raw scores; a score of None could not be made and takes no part in training."""

    rollouts: Sequence[Rollout]
    scores: Sequence[float | None]
    parts: Sequence[Mapping[str, float]]
    """named parts of each score; none where there is no score"""
    prefixes: Sequence[Sequence[float] | None]
    """raw scores of the prompt with the first 0, 1, ... response tokens, where the reward gives them"""

    def of_groups(self, groups: Collection[int]) -> ScoredRollouts:
        """Only the responses to some of the prompts, by group number."""
        rows = [row for row, rollout in enumerate(self.rollouts) if rollout.group in groups]
        return ScoredRollouts(
            [self.rollouts[row] for row in rows],
            [self.scores[row] for row in rows],
            [self.parts[row] for row in rows],
            [self.prefixes[row] for row in rows],
        )

    def shifted(self, first_group: int) -> ScoredRollouts:
        """The same with groups numbered from `first_group` on."""
        moved = [replace(rollout, group=rollout.group + first_group) for rollout in self.rollouts]
        return ScoredRollouts(moved, self.scores, self.parts, self.prefixes)

    def part_means(self) -> dict[str, float]:
        """The mean of each part over the responses that have it."""
        found: dict[str, list[float]] = {}
        for parts in self.parts:
            for name, value in parts.items():
                found.setdefault(name, []).append(value)
        return {name: sum(values) / len(values) for name, values in sorted(found.items())}


@dataclass(frozen=True)
class ShapedScores:
    """Scores of responses, all (B,): raw, after shaping, whether there is one at all; and metrics of the shaping."""

    raw: Tensor
    scores: Tensor
    is_scored: Tensor
    metrics: dict[str, Tensor]


def join_scored(chunks: Sequence[ScoredRollouts]) -> ScoredRollouts:
    """Chunks as one."""
    return ScoredRollouts(
        [rollout for chunk in chunks for rollout in chunk.rollouts],
        [score for chunk in chunks for score in chunk.scores],
        [parts for chunk in chunks for parts in chunk.parts],
        [prefixes for chunk in chunks for prefixes in chunk.prefixes],
    )


Collect = Callable[[Sequence[int], object], ScoredRollouts]
"""Samples responses to prompts, by number, and scores them; the second argument names the random numbers."""


@dataclass(frozen=True)
class Collected:
    """One iteration: all that was `sampled`, the responses `kept` for training, greedy_scores (prompts,) where asked for."""

    sampled: ScoredRollouts
    kept: ScoredRollouts
    greedy_scores: Tensor | None


@dataclass
class Collector:
    """Samples what a method needs, and shapes scores. A function of the iteration and the policy alone."""

    collect: Collect
    collect_greedy: Collect
    needs: Needs
    plan: Plan
    num_prompts: int
    seed: int
    device: torch.device
    shaping_settings: shaping.Settings
    score_mean: float = 0.0
    score_deviation: float = 1.0

    def __post_init__(self) -> None:
        per_iteration = self.plan.prompts_per_iteration
        self.order = RowOrder(self.num_prompts, per_iteration, self.seed, "prompts")
        self.spare = RowOrder(self.num_prompts, per_iteration, self.seed, "spare prompts")

    def __call__(self, iteration: int) -> Collected:
        indices = self.order.indices(iteration)
        sampled = kept = self.collect(indices, iteration)
        greedy_scores = self._greedy_scores(indices, iteration) if self.needs.greedy else None
        if self.needs.resampling is not None:
            sampled, kept = self._resample(sampled, iteration, self.needs.resampling)
        return Collected(sampled, kept, greedy_scores)

    def shape(self, scored: ScoredRollouts) -> ShapedScores:
        """Scores after normalisation, the rule for a missing EOS and clipping."""
        raw = torch.tensor([0.0 if s is None else s for s in scored.scores], device=self.device)
        is_scored = torch.tensor([s is not None for s in scored.scores], device=self.device)
        has_eos = torch.tensor([r.finish_reason == "stop" for r in scored.rollouts], device=self.device)
        scores, metrics = shaping.shape_scores(
            raw, has_eos, self.shaping_settings, mean=self.score_mean, deviation=self.score_deviation
        )
        return ShapedScores(raw, scores, is_scored, metrics)

    def describe(self, sampled: ScoredRollouts) -> dict[str, float]:
        """Metrics of everything that was sampled, whether or not it is trained on."""
        shaped = self.shape(sampled)
        is_scored, raw = shaped.is_scored, shaped.raw
        report = {name: float(value[is_scored].mean()) for name, value in shaped.metrics.items()}
        report |= {
            "score_mean": float(raw[is_scored].mean()),
            "unscorable": float((~is_scored).float().mean()),
        }
        if int(is_scored.sum()) > 1:
            report["score_std"] = float(raw[is_scored].std())
        if self.plan.samples_per_prompt > 1:
            numbers = self._group_numbers(sampled)
            report["zero_variance_groups"] = flat_share(compare_in_groups(shaped.scores, numbers, is_scored), numbers)
        if self.needs.resampling is not None:
            report["sampled_groups"] = float(len({rollout.group for rollout in sampled.rollouts}))
        return report | {f"score/{name}": value for name, value in sampled.part_means().items()}

    def _resample(self, sampled: ScoredRollouts, iteration: int, rounds: int) -> tuple[ScoredRollouts, ScoredRollouts]:
        """All that was sampled, and the responses to as many prompts as an iteration has whose scores differ.

        Where there are too few after all rounds, fewer are kept; where there is none, all are, with advantages of 0.
        """
        wanted = self.plan.prompts_per_iteration
        for number in range(rounds):
            if len(self._varied_groups(sampled)) >= wanted:
                break
            more = self.collect(self.spare.indices(iteration * rounds + number), f"{iteration} again {number}")
            sampled = join_scored([sampled, more.shifted((number + 1) * wanted)])
        return sampled, sampled.of_groups(self._varied_groups(sampled)[:wanted] or range((rounds + 1) * wanted))

    def _varied_groups(self, scored: ScoredRollouts) -> list[int]:
        """Numbers of the groups whose shaped scores are not all equal."""
        shaped, numbers = self.shape(scored), self._group_numbers(scored)
        groups = compare_in_groups(shaped.scores, numbers, shaped.is_scored)
        return sorted(set(numbers[~groups.is_flat].tolist()))

    def _group_numbers(self, scored: ScoredRollouts) -> Tensor:
        return torch.tensor([rollout.group for rollout in scored.rollouts], device=self.device)

    def _greedy_scores(self, indices: Sequence[int], iteration: int) -> Tensor:
        """Shaped scores (prompts,) of the greedy responses; 0, which is no worse a baseline, for an unscorable one."""
        shaped = self.shape(self.collect_greedy(indices, iteration))
        return shaped.scores.masked_fill(~shaped.is_scored, 0.0)
