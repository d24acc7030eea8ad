"""A look at demonstrations that are not trained on, while training goes on: loss, samples, and the best weights kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from tuningfork.settings import Input, Settings
from tuningfork.stage import StageContext

if TYPE_CHECKING:
    from tuningfork.data.rows import TokenRow
    from tuningfork.model.backbone import Backbone
    from tuningfork.streams.text import TargetLosses


class HeldoutSettings(Settings):
    """Demonstrations that are not trained on, and when they are looked at."""

    data: Input
    """demonstrations of the same form as those that are trained on"""
    every: int = Field(default=50, ge=1)
    """optimizer steps between two looks; the last step has one too"""
    samples: int = Field(default=4, ge=0)
    """answers sampled at each look, to the first questions of the file that leave room for one in the context"""
    max_new_tokens: int = Field(default=64, ge=1)
    """longest sampled answer"""
    keep: Literal["best", "last"] = "best"
    """which weights the stage ends with: those of the look with the lowest loss, or the last"""


@dataclass
class HeldoutLook:
    """Looks at held-out demonstrations. The best weights wait in the stage's work folder, so a resumed run finds them."""

    stage: StageContext
    backbone: Backbone
    settings: HeldoutSettings
    rows: Sequence[TokenRow]
    questions: Sequence[Mapping[str, Any]]
    _before: TargetLosses | None = None

    def begin(self) -> None:
        """Look at what the model finds of the answers before it is trained."""
        from tuningfork.streams.text import target_losses

        self._before = target_losses(self.backbone, self.rows)
        self.stage.figures["heldout_loss_before"] = self._before.figures()["loss"]

    def __call__(self, step: int) -> dict[str, float]:
        """Metrics under `heldout/`; samples are written, the best weights kept."""
        from tuningfork.streams.text import target_losses

        figures = target_losses(self.backbone, self.rows).figures()
        found = {f"heldout/{name}": value for name, value in figures.items()} | self._sample(step)
        if self.settings.keep == "best":
            self._keep_if_best(step, figures["loss"])
        return found

    def finish(self, last_step: int) -> None:
        """Put the best weights back, where they are wanted and are not the last, and record the figures.

        Intervals are over answers: the tokens of one are not independent.
        """
        from tuningfork.evals.statistics import bootstrap_interval, paired_comparison
        from tuningfork.streams.text import target_losses
        from tuningfork.train.checkpoint import load_checkpoint, restore_tensors

        if self.settings.keep == "best":
            best = load_checkpoint(self._folder)
            assert best is not None, "the last step has a look of its own"
            if best.step != last_step:
                restore_tensors({"policy": self.backbone.model}, best.tensors)
                self.stage.events.say(f"kept the weights after step {best.step} of {last_step}: lowest held-out loss")
            self.stage.figures["best_step"] = best.step
        found = target_losses(self.backbone, self.rows)
        losses, answers = found.losses.numpy(), found.rows.tolist()
        figures: dict[str, Any] = {f"heldout_{name}": value for name, value in found.figures().items()}
        figures["heldout_loss_ci95"] = bootstrap_interval(losses, answers, seed=self.stage.seed)
        if self._before is not None:
            change = paired_comparison(self._before.losses.numpy(), losses, answers, self.stage.seed)
            figures["heldout_change_ci95"] = change.ci95
        self.stage.figures.update(figures)

    @property
    def _folder(self) -> Any:
        return self.stage.work / "best"

    def _keep_if_best(self, step: int, loss: float) -> None:
        from tuningfork.train.checkpoint import load_checkpoint, save_checkpoint, trainable_tensors

        best = load_checkpoint(self._folder)
        if best is None or loss < best.state["loss"]:
            save_checkpoint(self._folder, step, trainable_tensors({"policy": self.backbone.model}), {"loss": loss})

    def _sample(self, step: int) -> dict[str, float]:
        from tuningfork.evals.answers import answer_prompts, prompt_text
        from tuningfork.rollout.settings import SamplingSettings

        rows = self.questions[: self.settings.samples]
        if not rows:
            return {}
        sampling = SamplingSettings(max_new_tokens=self.settings.max_new_tokens)
        answers = answer_prompts(self.backbone, rows, sampling, seed=self.stage.seed, purpose="heldout").answers
        for row, answer in zip(rows, answers, strict=True):
            self.stage.sample(step=step, prompt=prompt_text(row), response=answer.text, ended=answer.has_ended)
        return {"heldout/eos": sum(answer.has_ended for answer in answers) / len(answers)}
