"""Fit the weights of propositions to rankings: what a rule-based reward should make of each, beside a reward that exists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from tuningfork.data.reading import ReadingSettings
from tuningfork.reward.kinds.propositions import Settings as PropositionSettings
from tuningfork.reward.settings import RewardSettings
from tuningfork.settings import Input, Settings
from tuningfork.stage import StageContext

if TYPE_CHECKING:
    import numpy as np

    from tuningfork.data.judgements import Judgement

Pairs = list[tuple[int, int]]


class StageSettings(Settings):
    """Settings of the stage `propositions`."""

    by: PropositionSettings
    """the propositions and the model that says whether they hold, as in `reward: {name: propositions, ...}`"""
    base: RewardSettings | None = None
    """the reward beside which they are going to stand in a sum; empty for none"""
    data: Input
    """ranked answers: judgements, preferences or rankings"""
    reading: ReadingSettings = ReadingSettings()
    """what to make of the rows of `data`"""
    margin: float = Field(default=1.0, gt=0)
    """by how much the total of the better answer should be above that of the worse one"""
    penalty: float = Field(default=0.01, gt=0)
    """price of the squared weights"""
    holdout_share: float = Field(default=0.2, gt=0, lt=1)
    """share of the roots that are not fitted to, to measure on"""
    minimum_accuracy: float = Field(default=0.5, ge=0, le=1)
    """least share of held-out comparisons in the right order"""


def run(stage: StageContext, settings: StageSettings) -> None:
    """Fit, measure on held-out roots, write weights.json; the gate `accuracy`."""
    import numpy as np

    from tuningfork.data.adapters import RANKING_SHAPES
    from tuningfork.data.judgements import read_judgements
    from tuningfork.errors import DataError
    from tuningfork.evals.statistics import wilson_interval
    from tuningfork.judges.propositions import fit_weights, save_weights

    source = stage.inputs["data"].reference
    judgements = read_judgements(settings.reading.open(source, RANKING_SHAPES))
    names, features, base = _features(stage, settings, judgements)
    train, heldout = _split(stage, settings, judgements)
    if not train or not heldout:
        raise DataError(
            f"{source}: {len(train)} comparisons to fit to and {len(heldout)} held out: give rankings of more roots"
        )
    fit = fit_weights(features, base, train, margin=settings.margin, penalty=settings.penalty)
    better, worse = np.array(heldout).T
    given, totals = (
        base[better] - base[worse],
        (base + features @ fit.weights)[better] - (base + features @ fit.weights)[worse],
    )
    right = int((totals > 0).sum())
    low, high = wilson_interval(right, len(heldout))
    weights = {name: float(value) for name, value in zip(names, fit.weights, strict=True)}
    save_weights(stage.out / "weights.json", weights)
    stage.figures.update(comparisons=len(train), heldout_comparisons=len(heldout), hinge_loss=fit.loss)
    stage.figures.update(accuracy=right / len(heldout), accuracy_ci95=[low, high])
    stage.figures.update({f"weight_{name}": value for name, value in weights.items()})
    if settings.base:
        stage.figures["accuracy_of_base"] = float((given > 0).mean())
    stage.events.say(", ".join(f"{name} {value:+.3f}" for name, value in weights.items()))
    stage.gate(
        "accuracy",
        right >= settings.minimum_accuracy * len(heldout),
        f"the fitted sum puts {right / len(heldout):.3f} of {len(heldout)} held-out comparisons in the right order (95 % interval "
        f"{low:.3f} to {high:.3f}; at least {settings.minimum_accuracy:g})"
        + (f"; the base alone {stage.figures['accuracy_of_base']:.3f}" if settings.base else ""),
    )


def _features(
    stage: StageContext, settings: StageSettings, judgements: Sequence[Judgement]
) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Names (K,), probabilities (N, K) and base scores (N,) of all candidates in a row; DataError for one without a score."""
    import numpy as np

    from tuningfork.errors import DataError
    from tuningfork.reward import load_reward
    from tuningfork.reward.base import Item, RewardSources
    from tuningfork.reward.kinds.propositions import load

    items = [Item(j.prompt, candidate.text, {"root": j.root}) for j in judgements for candidate in j.candidates]
    own = {name.removeprefix("by."): value for name, value in stage.inputs.items() if name.startswith("by.")}
    reward = load(settings.by, RewardSources(own, stage.runtime))
    names = list(reward.weights)
    features = np.array([[score.parts[name] for name in names] for score in reward.score(items)])
    base = np.zeros(len(items))
    if settings.base:
        beside = load_reward(settings.base, stage.inputs, stage.runtime, field="base")
        for index, score in enumerate(beside.score(items)):
            if score.total is None:
                raise DataError(f"base has no score for the answer {items[index].response[:60]!r}; leave such rows out")
            base[index] = score.total
    return names, features, base


def _split(stage: StageContext, settings: StageSettings, judgements: Sequence[Judgement]) -> tuple[Pairs, Pairs]:
    """(better, worse) places among all candidates in a row, to fit to and held out by root, as the stage `reward` does."""
    from tuningfork.randomness import derive_seed, uniforms

    train: Pairs = []
    heldout: Pairs = []
    start = 0
    for judgement in judgements:
        draw = float(uniforms([derive_seed(stage.seed, "holdout", judgement.root)], 0)[0])
        side = heldout if draw < settings.holdout_share else train
        side += [(start + better, start + worse) for better, worse in judgement.pairs()]
        start += len(judgement.candidates)
    return train, heldout
