"""Reward models trained on the labels there are so far, and what they say of the pairs that nobody has judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from tuningfork.data.judgements import Judgement, read_judgements
from tuningfork.errors import DataError
from tuningfork.evals.pair_features import text_features
from tuningfork.feedback.choosing import Pool, bootstrap_heads
from tuningfork.methods import pairwise
from tuningfork.model.backbone import Backbone
from tuningfork.model.loading import load_backbone
from tuningfork.model.reward_model import Pooling, RewardModel
from tuningfork.model.settings import AdapterSettings
from tuningfork.stage import Events, Progress, StageContext
from tuningfork.streams.comparisons import ComparedTexts, ComparisonStream, Ordered
from tuningfork.streams.judgements import JudgedText, judged_texts
from tuningfork.train.loop import Loop
from tuningfork.train.settings import OptimizerSettings


@dataclass(frozen=True)
class AskedPair:
    """Two answers and what was said of them: 1 the first is better, -1 the second, 0 a tie."""

    first: JudgedText
    second: JudgedText
    answer: int
    root: str

    def compared(self) -> ComparedTexts:
        """The pair with the better answer first; not for a tie."""
        texts = (self.first, self.second) if self.answer > 0 else (self.second, self.first)
        return ComparedTexts(texts, (Ordered(0, 1),), (1, 2))


class TrainingSettings(Protocol):
    """What the training of a round needs to know."""

    @property
    def adapter(self) -> AdapterSettings: ...
    @property
    def pooling(self) -> Pooling: ...
    @property
    def head_init(self) -> Any: ...
    @property
    def loss(self) -> pairwise.Settings: ...
    @property
    def epochs(self) -> float: ...
    @property
    def batch_rows(self) -> int: ...
    @property
    def optimizer(self) -> OptimizerSettings: ...


def read_pairs(backbone: Backbone, source: str | Path) -> list[AskedPair]:
    """Pairs of a file of judgements, ties kept; DataError for a judgement of more than two answers."""
    return [asked_pair(backbone, judgement, source) for judgement in read_judgements(source)]


def asked_pair(backbone: Backbone, judgement: Judgement, source: str | Path) -> AskedPair:
    """A judgement of two answers; DataError for another, with the file it is from."""
    if len(judgement.candidates) != 2 or sum(map(len, judgement.ranking)) != 2:
        raise DataError(f"{source}: judgement {judgement.id} is not of two answers; ask about pairs")
    answer = 0 if len(judgement.ranking) == 1 else 1 if judgement.ranking[0] == [0] else -1
    first, second = judged_texts(backbone, judgement)
    return AskedPair(first, second, answer, judgement.root)


def train_round(stage: StageContext, settings: TrainingSettings, pairs: Sequence[AskedPair], name: str) -> RewardModel:
    """A reward model of these labels, from the stage's `model`; DataError where all of them are ties."""
    compared = [pair.compared() for pair in pairs if pair.answer]
    if not compared:
        raise DataError(f"all {len(pairs)} labels are ties: nothing to learn from; ask about other pairs")
    quiet = replace(stage, work=stage.work / name, events=_Quiet(stage.events))
    backbone = load_backbone(stage.inputs["model"].reference, stage.runtime, adapter=settings.adapter, seed=stage.seed)
    reward_model = RewardModel.create(backbone, settings.pooling, seed=stage.seed, init=settings.head_init)
    size = min(settings.batch_rows, len(compared))
    stream = ComparisonStream(reward_model, compared, settings.loss, batch_elements=size, seed=stage.seed)
    steps = max(1, round(settings.epochs * len(compared) / size))
    Loop(quiet, reward_model.modules(), [stream], settings.optimizer, steps, label=name).run()
    return reward_model


def margins(reward_model: RewardModel, pairs: Sequence[AskedPair]) -> tuple[np.ndarray, np.ndarray]:
    """Score differences (N,) and differences of pooled states (N, D), first answer less second."""
    found = text_features(reward_model, [text for pair in pairs for text in (pair.first, pair.second)])
    return found.scores[::2] - found.scores[1::2], found.states[::2] - found.states[1::2]


def hits(margin: np.ndarray, pairs: Sequence[AskedPair]) -> np.ndarray:
    """(N,): 1 where the score has the order of the answer, 0 where the other, half where it has none. Not for ties."""
    return (np.sign(margin * np.array([pair.answer for pair in pairs])) + 1) / 2


def look_at(
    reward_model: RewardModel, judged: Sequence[AskedPair], open_pairs: Sequence[AskedPair], *, heads: int, seed: int
) -> Pool:
    """The pool of pairs that nobody has judged, as this reward model sees it."""
    margin, features = margins(reward_model, open_pairs)
    if not any(pair.answer for pair in judged):
        return Pool(margin, features=features)
    _, known = margins(reward_model, judged)
    scale = float(np.sqrt((known**2).sum(1).mean())) or 1.0
    answers = np.array([pair.answer for pair in judged])
    better = (known * answers[:, None])[answers != 0] / scale
    members = bootstrap_heads(better, heads, seed=seed)
    return Pool(margin, members @ (features / scale).T, features / scale, known / scale)


class _Quiet:
    """The events of a training that is one of many: its steps are not logged, its progress shows."""

    def __init__(self, events: Events) -> None:
        self.events = events

    def log(self, *, step: int, **metrics: Any) -> None:
        """Many trainings would have the same steps: the stage logs one line for each."""

    def rewind(self, step: int) -> None:
        """Nothing was logged."""

    def say(self, text: str) -> None:
        self.events.say(text)

    def progress(self, total: float, label: str, unit: str = "step", done: float = 0) -> Progress:
        return self.events.progress(total, label, unit, done)
