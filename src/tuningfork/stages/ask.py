"""Ask a larger model for answers to prompts that are there: the data of an imitation, or of a distillation."""

from __future__ import annotations

from pydantic import Field

from tuningfork.asking.settings import AskedSettings, ReplySampling
from tuningfork.data.reading import ReadingSettings
from tuningfork.settings import Input, Settings
from tuningfork.stage import StageContext
from tuningfork.teachers.settings import AnswerRules


class StageSettings(Settings):
    """Settings of the stage `ask`."""

    teacher: AskedSettings
    """who answers"""
    prompts: Input
    """prompts, or demonstrations whose answers are left out"""
    reading: ReadingSettings = ReadingSettings()
    """what to make of the rows of `prompts`"""
    limit: int | None = Field(default=None, ge=1)
    """use only this many prompts, drawn by seed; empty uses all"""
    samples: int = Field(default=1, ge=1)
    """answers to each prompt"""
    sampling: ReplySampling = ReplySampling()
    """how answers are drawn"""
    answers: AnswerRules = AnswerRules()
    """which answers are kept"""
    minimum_share: float = Field(default=0.8, ge=0, le=1)
    """share of the answers asked for below which the run stops"""


def run(stage: StageContext, settings: StageSettings) -> None:
    """Ask, filter, write data.jsonl (prompt, completion, provenance) and dropped.jsonl."""
    from tuningfork.asking.asker import open_asker
    from tuningfork.randomness import numpy_generator
    from tuningfork.teachers.rows import Harvest, Instruction, read_prompts

    prompts = read_prompts(settings.reading, stage.inputs["prompts"].reference)
    chosen = numpy_generator(stage.seed, "prompts").permutation(len(prompts))[: settings.limit]
    asked = [
        Instruction(f"{index}-{prompts[index][0]}/{sample}", prompts[index][1], {"prompt": prompts[index][0]})
        for index in map(int, chosen)
        for sample in range(settings.samples)
    ]
    asker, harvest = open_asker(stage, settings.teacher, settings.sampling), Harvest()
    harvest.answer(asker, asked, settings.answers)
    harvest.write(stage, asker, wanted=len(asked), minimum_share=settings.minimum_share)
