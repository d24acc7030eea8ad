"""Settings of learning from preferences."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from tuningfork.data.reading import ReadingSettings
from tuningfork.evals.monitor import WatchSettings
from tuningfork.methods import preference as preference_methods
from tuningfork.model.settings import AdapterSettings, Lora
from tuningfork.rollout.settings import SamplingSettings
from tuningfork.settings import Input, Settings
from tuningfork.train.settings import BudgetSeconds, OptimizerSettings, ReplaySettings

MethodSettings = preference_methods.settings_choice()


class StageSettings(Settings):
    """Settings of the stage `preference`."""

    model: Input = "sft/model"
    """model to improve; as it is now it is also the reference"""
    data: Input
    """judgements, preference rows `{"prompt", "chosen", "rejected"}`, or for kto also `{"prompt", "completion", "label"}`"""
    reading: ReadingSettings = ReadingSettings()
    """what to make of the rows of `data`"""
    method: MethodSettings = Field(default={"name": "dpo"}, validate_default=True)  # pyright: ignore[reportInvalidTypeForm]
    """the method and its settings, e.g. `{name: dpo, beta: 0.1}`"""
    soft_labels: bool = False
    """whether a judgement's probability is learnt as such: p times the loss of its ranking, 1 - p times that of the other"""
    reliability: dict[Literal["person", "model", "rule", "simulated"], float] = Field(default_factory=dict)
    """kind of rater -> measured share of its judgements that are right, .5 to 1: labels become that much softer, so that raters
    of different worth can be learnt from together; kinds left out are taken at their word"""
    shuffle_labels: bool = False
    """a null check: chance says which response is the better one (or which single ones are good). A gain that is still there was
    not learnt from preferences"""
    adapter: AdapterSettings = Lora()
    """what to train"""
    heldout: Input | None = None
    """rows of the same kind to measure on, to other prompts than those of `data`; empty holds some of `data` out by root"""
    holdout_share: float = Field(default=0.1, gt=0, lt=1)
    """share of the roots whose preferences are held out to measure on, where `heldout` is empty"""
    epochs: float | None = Field(default=None, gt=0)
    """passes over the preferences; empty means 1, or as many as the budget holds"""
    budget: BudgetSeconds = None
    """seconds of computing (a CPU's, over the number of threads), reference log-probabilities included, instead of `epochs`;
    how many steps fit depends on the machine, so such a run is not bit-exact"""
    batch_rows: int = Field(default=64, ge=1)
    """pairs or responses per step"""
    micro_batch: int | None = Field(default=None, ge=1)
    """pairs or responses per forward pass; the gradient does not depend on it"""
    optimizer: OptimizerSettings = OptimizerSettings(learning_rate=5e-5, schedule="linear", warmup=0.1, floor=0.0)
    """learning rate and its schedule"""
    replay: ReplaySettings | None = None
    """earlier text trained beside the preferences, which keeps what the model knows"""
    minimum_accuracy: float = Field(default=0.5, ge=0, le=1)
    """least share of held-out comparisons in the right order"""
    sampling: SamplingSettings = SamplingSettings(max_new_tokens=40)
    """how the answers are drawn whose lengths are compared before and after"""
    answers: int = Field(default=64, ge=1)
    """held-out prompts that are answered for that"""
    monitor: WatchSettings | None = None
    """what is looked at during training, as in the stage `rl`: gold judge, proxy, KL; what is kept, and what ends it"""

    @model_validator(mode="after")
    def _every_setting_has_an_effect(self) -> Self:
        if self.budget is not None and self.epochs is not None:
            raise ValueError("epochs has no effect with a budget; give one of them")
        return self

    @field_validator("reliability")
    @classmethod
    def _is_no_worse_than_chance(cls, value: dict[str, float]) -> dict[str, float]:
        if any(not 0.5 <= share <= 1 for share in value.values()):
            raise ValueError("a reliability lies between .5, which is chance, and 1")
        return value
