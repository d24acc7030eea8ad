"""Train a reward model from comparisons, ratings or labels, and write its card before anything is optimised on it."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from tuningfork.data.reading import ReadingSettings
from tuningfork.evals.card_settings import CardSettings
from tuningfork.methods import pairwise
from tuningfork.model.settings import Full
from tuningfork.reward_training.settings import (
    ContrastSettings,
    LabelSettings,
    MarginSettings,
    RatingSettings,
    RewardAdapterSettings,
)
from tuningfork.settings import Input, Settings
from tuningfork.stage import StageContext
from tuningfork.train.settings import OptimizerSettings, ReplaySettings


class StageSettings(Settings):
    """Settings of the stage `reward`."""

    model: Input = "sft/model"
    """model to start from; its trunk becomes the reward model's"""
    data: Input
    """judgements, rows of a preference, ranking or tree, e.g. `{"prompt", "chosen", "rejected"}`, single answers that were found
    good or bad, or labelled rows `{"text", "label"}`"""
    reading: ReadingSettings = ReadingSettings()
    """what to make of the rows of `data` and `heldout`"""
    rows: int | None = Field(default=None, ge=1)
    """train on this many of the rows only (with comparisons: of the items, each with all its judgements), drawn by seed"""
    heldout: Input | None = None
    """rows of the same kind to measure on; empty holds some of `data` out by root"""
    holdout_share: float = Field(default=0.1, gt=0, lt=1)
    """share of the roots whose feedback is held out"""
    overlap: Literal["refuse", "drop"] = "refuse"
    """what becomes of rows to train on that share their prompt (or text) with held-out ones"""
    adapter: RewardAdapterSettings = Full()
    """what to train besides the head"""
    template: Literal["plain", "dialogue", "chat"] = "plain"
    """how prompt and answer are put together: one behind the other, as Human and Assistant paragraphs, or by the model's chat
    template. Answers that were sampled here are read as they were sampled"""
    pooling: Literal["last", "mean_response", "mean_all", "max", "attention"] = "last"
    """where the score is read: the last token; the mean over response tokens, or over all; their maximum; or a learnt weighting
    of response tokens"""
    head_init: Literal["normal", "zero"] = "normal"
    """weights the new head starts with: `normal` with std 1 / sqrt(d + 1), or `zero`, with which a trunk that learns fast is
    not driven in a random direction first"""
    loss: pairwise.Settings = pairwise.Settings()
    """how comparisons are learnt"""
    margin: MarginSettings | None = None
    """how far apart two scores shall be; empty asks for the right order only"""
    labels: LabelSettings | None = None
    """how labelled texts are read, where labels are classes"""
    ratings: RatingSettings | None = None
    """how ratings are learnt, where labels are numbers"""
    criteria: dict[str, float] = Field(default_factory=dict)
    """criterion -> weight: a head for each criterion that judgements rate answers on, the weighted sum is the score"""
    members: int = Field(default=1, ge=1)
    """reward models to train from different seeds; more than one make an ensemble, whose disagreement a reward can subtract"""
    epochs: float = Field(default=1.0, gt=0)
    """passes over the feedback; more than one learns the raters' slips by heart"""
    batch_rows: int = Field(default=64, ge=1)
    """comparisons (with K-wise rankings: prompts) or texts per step"""
    micro_batch: int | None = Field(default=None, ge=1)
    """the same per forward pass; the gradient does not depend on it"""
    optimizer: OptimizerSettings = OptimizerSettings(learning_rate=3e-4, head_multiplier=3.0)
    """learning rate and its schedule"""
    replay: ReplaySettings | None = None
    """earlier text trained beside the feedback, which keeps what the trunk knows"""
    reference: Input | None = None
    """judgements or rows `{"prompt", "completion"}` whose answers get mean 0 and deviation 1, best samples of the model that is
    going to be trained; empty takes the held-out answers"""
    minimum_accuracy: float = Field(default=0.6, ge=0, le=1)
    """least accuracy on held-out comparisons"""
    contrasts: ContrastSettings | None = None
    """a second gate, on pairs of known order"""
    card: CardSettings = CardSettings()
    """what is measured before anything is optimised on the reward model"""

    @property
    def reads_response(self) -> bool:
        """Whether the pooling needs a response token."""
        return self.pooling in ("mean_response", "max", "attention")

    @model_validator(mode="after")
    def _every_setting_has_an_effect(self) -> Self:
        if self.margin is not None and self.loss.form in ("plackett_luce", "pick_best"):
            raise ValueError(f"margin is about pairs and has no effect on the loss form {self.loss.form}; remove it")
        if self.margin is not None and (self.labels is not None or self.criteria):
            raise ValueError("margin is about comparisons; remove it")
        if self.labels is not None and self.template != "plain":
            raise ValueError("template has no effect on labelled texts, which are read without a prompt; remove it")
        if self.replay is not None and self.adapter.kind == "frozen":
            raise ValueError(
                "replay trains the trunk, which adapter: {kind: frozen} leaves as it is; remove one of them"
            )
        return self


def run(stage: StageContext, settings: StageSettings) -> None:
    """Train, normalise on ordinary samples, measure, save, and judge whether anything may be optimised on it."""
    from tuningfork.reward_training.card import write_card
    from tuningfork.reward_training.contrasts import check_contrasts
    from tuningfork.reward_training.training import prepare, save, train_members

    prepared = prepare(stage, settings)
    models = train_members(stage, settings, prepared)
    prepared.task.measure(models)
    for model in models:
        model.normalise(prepared.reference_scores(model))
    fitness = write_card(stage, settings, prepared, models)
    if settings.contrasts:
        check_contrasts(stage, settings.contrasts, models)
    save(stage, models, fitness)
