"""How many labels does each way of choosing what to ask need? Known answers are revealed in rounds, and counted.

Every strategy starts from the same random first labels. A round trains a reward model on all labels so far, measures it on
held-out pairs, and chooses the next pairs to reveal. A tie is an answer too: it costs a label and teaches nothing.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from tuningfork.feedback.choosing import Strategy
from tuningfork.methods import pairwise
from tuningfork.model.settings import AdapterSettings, Full
from tuningfork.settings import Input, Settings
from tuningfork.stage import StageContext
from tuningfork.train.settings import OptimizerSettings

if TYPE_CHECKING:
    from tuningfork.evals.learning_curve import Estimate, Outlook
    from tuningfork.streams.label_rounds import AskedPair


class StageSettings(Settings):
    """Settings of the stage `active`."""

    model: Input = "sft/model"
    """model that each reward model starts from"""
    data: Input
    """judgements that can be revealed, ties among them"""
    heldout: Input
    """judgements that accuracy is measured on, of other roots; ties are left out"""
    strategies: tuple[Strategy, ...] = Field(default=("random", "uncertainty"), min_length=1)
    """ways of choosing that are compared"""
    first: int = Field(default=100, ge=2)
    """labels before the first choice, drawn at random, the same for every strategy"""
    labels: int = Field(default=100, ge=1)
    """labels of each round"""
    rounds: int = Field(default=5, ge=1)
    """rounds after the first labels"""
    heads: int = Field(default=8, ge=2)
    """members of the ensemble for `disagreement`: heads on one trunk, each fitted to a resample of the labels"""
    adapter: AdapterSettings = Full()
    """what to train besides the head"""
    pooling: Literal["last", "mean_response", "mean_all"] = "last"
    """where the score is read"""
    head_init: Literal["normal", "zero"] = "zero"
    """weights the new head starts with"""
    loss: pairwise.Settings = pairwise.Settings()
    """Bradley-Terry options"""
    epochs: float = Field(default=3.0, gt=0)
    """passes over the labels, in every round anew from `model`"""
    batch_rows: int = Field(default=32, ge=1)
    """pairs per step"""
    optimizer: OptimizerSettings = OptimizerSettings(learning_rate=3e-4, head_multiplier=3.0)
    """learning rate and its schedule"""


def run(stage: StageContext, settings: StageSettings) -> None:
    """Ask in rounds by every strategy; write rounds.jsonl, and what the last and the next labels buy."""
    from tuningfork.errors import DataError
    from tuningfork.evals.learning_curve import describe, outlook
    from tuningfork.model.loading import load_backbone
    from tuningfork.streams.label_rounds import read_pairs

    backbone = load_backbone(stage.inputs["model"].reference, stage.runtime)
    pool = read_pairs(backbone, stage.inputs["data"].reference)
    heldout = [pair for pair in read_pairs(backbone, stage.inputs["heldout"].reference) if pair.answer]
    needed = settings.first + settings.rounds * settings.labels
    if len(pool) < needed or not heldout:
        raise DataError(
            f"{len(pool)} judgements to reveal and {len(heldout)} held out: {settings.rounds} rounds need {needed}, "
            "and at least one held out that is no tie"
        )
    ties = sum(not pair.answer for pair in pool) / len(pool)
    stage.figures.update(pool=len(pool), tie_share=ties, heldout_pairs=len(heldout))
    for strategy in settings.strategies:
        rounds = _Rounds(stage, settings, pool, heldout, strategy).run()
        labels, hits = [row["labels"] for row in rounds], [row["hits"] for row in rounds]
        roots = [pair.root for pair in heldout]
        found = outlook(labels, hits, roots, next_labels=settings.labels, seed=stage.seed)
        stage.figures[strategy] = _figures(found)
        stage.events.say(f"{strategy}: {describe(found)}")


class _Rounds:
    """The rounds of one strategy. A finished round is kept in the work folder, so an interruption costs one training."""

    def __init__(
        self,
        stage: StageContext,
        settings: StageSettings,
        pool: list[AskedPair],
        heldout: list[AskedPair],
        strategy: Strategy,
    ) -> None:
        self.stage, self.settings, self.strategy = stage, settings, strategy
        self.pool, self.heldout = pool, heldout

    def run(self) -> list[dict[str, Any]]:
        """One row a round: `labels`, `ties`, `accuracy`, `hits` (of each held-out pair), `asked` (numbers of pairs)."""
        from tuningfork.randomness import numpy_generator

        first = numpy_generator(self.stage.seed, "first labels").permutation(len(self.pool))
        asked = [int(index) for index in first[: self.settings.first]]
        rows: list[dict[str, Any]] = []
        for number in range(self.settings.rounds + 1):
            row = self._kept(number) or self._keep(number, self._round(number, asked))
            rows.append(row)
            asked = asked + row["chosen"]
            with (self.stage.out / "rounds.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps({"strategy": self.strategy, "round": number, **row}) + "\n")
            self.stage.events.log(step=row["labels"], **{f"{self.strategy}/accuracy": row["accuracy"]})
        return rows

    def _round(self, number: int, asked: list[int]) -> dict[str, Any]:
        """Train on what was asked so far, measure, and choose what to ask next."""
        from tuningfork.feedback.choosing import choose
        from tuningfork.streams import label_rounds

        known = [self.pool[index] for index in asked]
        name = f"{self.strategy} round {number}, {len(asked)} labels"
        reward_model = label_rounds.train_round(self.stage, self.settings, known, name)
        margins, _ = label_rounds.margins(reward_model, self.heldout)
        hits = label_rounds.hits(margins, self.heldout)
        chosen: list[int] = []
        if number < self.settings.rounds:
            taken = set(asked)
            left = [index for index in range(len(self.pool)) if index not in taken]
            others = [self.pool[index] for index in left]
            seen = label_rounds.look_at(reward_model, known, others, heads=self.settings.heads, seed=self.stage.seed)
            places = choose(self.strategy, seen, self.settings.labels, seed=self.stage.seed, round_number=number)
            chosen = [left[place] for place in places]
        return {
            "labels": len(asked),
            "ties": sum(not pair.answer for pair in known),
            "accuracy": float(hits.mean()),
            "hits": hits.tolist(),
            "chosen": chosen,
        }

    def _kept(self, number: int) -> dict[str, Any] | None:
        path = self._path(number)
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None

    def _keep(self, number: int, row: dict[str, Any]) -> dict[str, Any]:
        path = self._path(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(row), encoding="utf-8")
        temporary.replace(path)
        self.stage.stop.check()
        return row

    def _path(self, number: int) -> Path:
        # the first labels are the same for all, and so is what is learnt from them: but not what is asked next
        return self.stage.work / "rounds" / f"{self.strategy}-{number}.json"


def _figures(found: Outlook) -> dict[str, Any]:
    """The outlook as figures for the manifest; an interval is [value, low, high]."""

    def numbers(estimate: Estimate | None) -> list[float | None] | None:
        if estimate is None:
            return None
        return [value if math.isfinite(value) else None for value in (estimate.value, *(estimate.ci95 or ()))]

    return {
        "labels": found.labels,
        "accuracy": numbers(found.accuracy),
        "last_gain": numbers(found.last_gain),
        "next_gain": numbers(found.next_gain),
        "labels_a_point": numbers(found.labels_a_point),
        "limit": numbers(found.limit),
    }
