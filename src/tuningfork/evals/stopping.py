"""Whether a model ends its answers by itself. One that does not was trained without an end token among its targets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from tuningfork.settings import Input, Settings
from tuningfork.stage import StageContext

if TYPE_CHECKING:
    from tuningfork.model.backbone import Backbone


SHOWN = 20
"""Answers that go to the samples."""


class StopProbeSettings(Settings):
    """Sampled answers of which a share has to end before the length limit."""

    prompts: Input
    """prompts or demonstrations (whose answers are left out)"""
    minimum: float = Field(default=0.9, ge=0, le=1)
    """share of answers that end by themselves below which the run stops"""
    max_new_tokens: int = Field(default=128, ge=1)
    """longest answer; give the longest that a demonstration has"""
    limit: int = Field(default=64, ge=1)
    """prompts that are asked, the first ones of the file that leave room for an answer in the context"""


def check_stopping(stage: StageContext, backbone: Backbone, settings: StopProbeSettings) -> None:
    """Record the gate `stops` and the figure `stop_rate`; some answers go to the samples."""
    from tuningfork.data.demonstrations import question_rows
    from tuningfork.data.jsonl import read_jsonl
    from tuningfork.errors import DataError
    from tuningfork.evals.answers import answer_prompts, askable, prompt_text
    from tuningfork.rollout.settings import SamplingSettings

    source = stage.inputs["stop_probe.prompts"].reference
    rows, num_too_long = askable(backbone, question_rows(read_jsonl(source), source), settings.limit)
    if not rows:
        raise DataError(f"{source}: no prompt leaves room for an answer in a context of {backbone.max_length} tokens")
    if num_too_long:
        stage.events.say(f"stop probe: {num_too_long:,} prompts as long as the context are left out")
    sampling = SamplingSettings(max_new_tokens=settings.max_new_tokens)
    answers = answer_prompts(backbone, rows, sampling, seed=stage.seed, purpose="stop probe").answers
    rate = sum(answer.has_ended for answer in answers) / len(answers)
    for row, answer in list(zip(rows, answers, strict=True))[:SHOWN]:
        stage.sample(purpose="stop probe", prompt=prompt_text(row), response=answer.text, ended=answer.has_ended)
    stage.figures.update(stop_rate=rate, stop_answers=len(answers))
    if num_too_long:
        stage.figures["stop_prompts_too_long"] = num_too_long
    message = (
        f"{rate:.3f} of {len(answers)} sampled answers end within {settings.max_new_tokens} tokens "
        f"(at least {settings.minimum})"
    )
    stage.gate("stops", rate >= settings.minimum, message, stop_rate=rate)
