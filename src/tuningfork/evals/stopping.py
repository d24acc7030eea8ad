"""Whether a model ends its answers by itself. One that does not was trained without an end token among its targets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from tuningfork.settings import Input, Settings
from tuningfork.stage import StageContext

if TYPE_CHECKING:
    from tuningfork.model.backbone import Backbone


class StopProbeSettings(Settings):
    """Sampled answers of which a share has to end before the length limit."""

    prompts: Input
    """prompts or demonstrations (whose answers are left out)"""
    minimum: float = Field(default=0.9, ge=0, le=1)
    """share of answers that end by themselves below which the run stops"""
    max_new_tokens: int = Field(default=128, ge=1)
    """longest answer; give the longest that a demonstration has"""
    limit: int = Field(default=64, ge=1)
    """prompts that are asked, the first ones of the file"""


def check_stopping(stage: StageContext, backbone: Backbone, settings: StopProbeSettings) -> None:
    """Record the gate `stops` and the figure `stop_rate`; a few answers go to the samples."""
    from tuningfork.data.demonstrations import question_rows
    from tuningfork.data.jsonl import read_jsonl
    from tuningfork.evals.answers import answer_prompts, prompt_text
    from tuningfork.rollout.settings import SamplingSettings

    source = stage.inputs["stop_probe.prompts"].reference
    rows = question_rows(read_jsonl(source)[: settings.limit], source)
    sampling = SamplingSettings(max_new_tokens=settings.max_new_tokens)
    answers = answer_prompts(backbone, rows, sampling, seed=stage.seed, purpose="stop probe").answers
    rate = sum(answer.has_ended for answer in answers) / len(answers)
    for row, answer in list(zip(rows, answers, strict=True))[:4]:
        stage.sample(purpose="stop probe", prompt=prompt_text(row), response=answer.text, ended=answer.has_ended)
    stage.figures["stop_rate"] = rate
    message = (
        f"{rate:.3f} of {len(answers)} sampled answers end within {settings.max_new_tokens} tokens "
        f"(at least {settings.minimum})"
    )
    stage.gate("stops", rate >= settings.minimum, message, stop_rate=rate)
