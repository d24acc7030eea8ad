"""What do labels buy? Judgements that exist are revealed in rounds; after each a reward model is trained and measured.

`as_asked` reveals them in the order in which they were given: what the last labels bought, and what more would. The other
orders answer what it would have taken had one chosen what to ask by them; these start from the same random first labels. A tie
is an answer too: it costs a label and teaches nothing.
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
    from tuningfork.model.reward_model import RewardModel
    from tuningfork.streams.label_rounds import AskedPair


Order = Literal["as_asked"] | Strategy


class StageSettings(Settings):
    """Settings of the stage `label_curve`."""

    model: Input = "sft/model"
    """model that each reward model starts from"""
    data: Input
    """judgements that can be revealed, ties among them"""
    heldout: Input | None = None
    """judgements that accuracy is measured on, of other roots; some roots of `data` where it is left out. Ties are left out"""
    holdout_share: float = Field(default=0.2, gt=0, lt=1)
    """share of the roots of `data` that are held out; without `heldout` only"""
    strategies: tuple[Order, ...] = Field(default=("as_asked",), min_length=1)
    """orders in which the judgements are revealed"""
    first: int = Field(default=100, ge=2)
    """labels before the first choice"""
    labels: int = Field(default=100, ge=1)
    """labels of each round"""
    rounds: int | None = Field(default=None, ge=1)
    """rounds after the first labels; as many as there are labels for, if left out"""
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
    """Reveal in rounds by every order; write rounds.jsonl, and what the last and the next labels buy."""
    from tuningfork.evals.learning_curve import describe, outlook

    pool, heldout = _read(stage, settings)
    ties = sum(not pair.answer for pair in pool) / len(pool)
    stage.figures.update(pool=len(pool), tie_share=ties, heldout_pairs=len(heldout))
    rows: list[dict[str, Any]] = []
    for strategy in settings.strategies:
        rounds = _Rounds(stage, settings, pool, heldout, strategy).run()
        rows += rounds
        labels, hits = [row["labels"] for row in rounds], [row["hits"] for row in rounds]
        roots = [pair.root for pair in heldout]
        found = outlook(labels, hits, roots, next_labels=settings.labels, seed=stage.seed)
        stage.figures[strategy] = _figures(found)
        stage.events.say(f"{strategy}: {describe(found)}")
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (stage.out / "rounds.jsonl").write_text(lines, encoding="utf-8")


def _read(stage: StageContext, settings: StageSettings) -> tuple[list[AskedPair], list[AskedPair]]:
    """What can be revealed, in the order given, and what is held out."""
    from tuningfork.errors import DataError
    from tuningfork.model.loading import load_backbone
    from tuningfork.randomness import derive_seed, uniforms
    from tuningfork.streams.label_rounds import read_pairs

    backbone = load_backbone(stage.inputs["model"].reference, stage.runtime)
    pool = read_pairs(backbone, stage.inputs["data"].reference)
    if settings.heldout:
        heldout = read_pairs(backbone, stage.inputs["heldout"].reference)
        shared = {pair.root for pair in pool} & {pair.root for pair in heldout}
        if shared:
            raise DataError(
                f"{len(shared)} roots are in data and in heldout, {min(shared)!r} among them; hold out others"
            )
    else:
        draws = {root: derive_seed(stage.seed, "holdout", root) for root in {pair.root for pair in pool}}
        out = {root for root, key in draws.items() if float(uniforms([key], 0)[0]) < settings.holdout_share}
        heldout = [pair for pair in pool if pair.root in out]
        pool = [pair for pair in pool if pair.root not in out]
    heldout = [pair for pair in heldout if pair.answer]
    needed = settings.first + (settings.rounds or 1) * settings.labels
    if len(pool) < needed or not heldout:
        raise DataError(
            f"{len(pool)} judgements to reveal and {len(heldout)} held out that are no ties: {needed} are needed, and one "
            "held out at least; set first, labels, rounds or holdout_share"
        )
    return pool, heldout


class _Rounds:
    """The rounds of one strategy. A finished round is kept in the work folder, so an interruption costs one training."""

    def __init__(
        self,
        stage: StageContext,
        settings: StageSettings,
        pool: list[AskedPair],
        heldout: list[AskedPair],
        strategy: Order,
    ) -> None:
        self.stage, self.settings = stage, settings
        self.strategy: Order = strategy
        self.pool, self.heldout = pool, heldout
        self.roots = [pair.root for pair in heldout]
        self.num_rounds = settings.rounds or (len(pool) - settings.first) // settings.labels

    def run(self) -> list[dict[str, Any]]:
        """One row a round: `labels`, `ties`, `accuracy`, `hits` (of each held-out pair), `asked` (numbers of pairs)."""
        from tuningfork.randomness import numpy_generator

        order = numpy_generator(self.stage.seed, "first labels").permutation(len(self.pool))
        asked = [int(number) for number in order[: self.settings.first]]
        if self.strategy == "as_asked":
            asked = list(range(self.settings.first))
        rows: list[dict[str, Any]] = []
        for number in range(self.num_rounds + 1):
            row = self._kept(number) or self._keep(number, self._round(number, asked))
            rows.append({"strategy": self.strategy, "round": number, **row, "roots": self.roots})
            asked = asked + row["chosen"]
            self.stage.events.log(step=row["labels"], **{f"{self.strategy}/accuracy": row["accuracy"]})
        return rows

    def _round(self, number: int, asked: list[int]) -> dict[str, Any]:
        """Train on what was asked so far, measure, and choose what to ask next."""
        from tuningfork.streams import label_rounds

        known = [self.pool[index] for index in asked]
        name = f"{self.strategy} round {number}, {len(asked)} labels"
        reward_model = label_rounds.train_round(self.stage, self.settings, known, name)
        margins, _ = label_rounds.margins(reward_model, self.heldout)
        hits = label_rounds.hits(margins, self.heldout)
        chosen = self._choose(number, asked, reward_model) if number < self.num_rounds else []
        return {
            "labels": len(asked),
            "ties": sum(not pair.answer for pair in known),
            "accuracy": float(hits.mean()),
            "hits": hits.tolist(),
            "chosen": chosen,
        }

    def _choose(self, number: int, asked: list[int], reward_model: RewardModel) -> list[int]:
        """Numbers of the pairs to reveal next."""
        from tuningfork.feedback.choosing import choose
        from tuningfork.streams.label_rounds import look_at

        taken, strategy = set(asked), self.strategy
        left = [index for index in range(len(self.pool)) if index not in taken]
        if strategy == "as_asked":
            return left[: self.settings.labels]
        known, others = ([self.pool[index] for index in numbers] for numbers in (asked, left))
        seen = look_at(reward_model, known, others, heads=self.settings.heads, seed=self.stage.seed)
        places = choose(strategy, seen, self.settings.labels, seed=self.stage.seed, round_number=number)
        return [left[place] for place in places]

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
