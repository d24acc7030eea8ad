"""Let a larger model write instructions after a few seed tasks, and answer them (Self-Instruct, Wang et al. 2022, 2212.10560)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from tuningfork.asking.settings import AskedSettings, ReplySampling
from tuningfork.data.reading import ReadingSettings
from tuningfork.settings import Input, Settings
from tuningfork.stage import StageContext
from tuningfork.teachers.settings import AnswerRules, InstructionRules

if TYPE_CHECKING:
    from tuningfork.asking.asker import Asker, Question
    from tuningfork.teachers.filters import InstructionFilter
    from tuningfork.teachers.rows import Harvest, Instruction

_PATIENCE = 3
"""Rounds without a new instruction after which the teacher has nothing more to say."""


class StageSettings(Settings):
    """Settings of the stage `self_instruct`."""

    teacher: AskedSettings
    """who writes"""
    seeds: Input
    """seed tasks: prompts, or demonstrations whose answers are left out"""
    reading: ReadingSettings = ReadingSettings()
    """what to make of the rows of `seeds`"""
    count: int = Field(ge=1)
    """instructions to make"""
    seeds_shown: int = Field(default=6, ge=1)
    """seed tasks in each request"""
    made_shown: int = Field(default=2, ge=0)
    """tasks made before in each request, once there are any"""
    per_request: int = Field(default=8, ge=1)
    """tasks asked for in each request"""
    requests: int = Field(default=8, ge=1)
    """requests of a round; only the next round sees what a round made"""
    sampling: ReplySampling = ReplySampling(max_new_tokens=1024)
    """how replies are drawn"""
    instructions: InstructionRules = InstructionRules()
    """which instructions are kept"""
    answers: AnswerRules = AnswerRules()
    """which answers are kept"""
    minimum_share: float = Field(default=0.5, ge=0, le=1)
    """share of `count` below which the run stops"""


def run(stage: StageContext, settings: StageSettings) -> None:
    """Write instructions until there are enough, answer them, write data.jsonl and dropped.jsonl."""
    from tuningfork.asking.asker import open_asker
    from tuningfork.teachers.filters import InstructionFilter
    from tuningfork.teachers.rows import Harvest, read_prompts

    seeds = read_prompts(settings.reading, stage.inputs["seeds"].reference)
    asker, harvest = open_asker(stage, settings.teacher, settings.sampling), Harvest()
    known = InstructionFilter(settings.instructions, [text for _, text in seeds])
    made: list[Instruction] = []
    number, idle = 0, 0
    while len(made) < settings.count and idle < _PATIENCE and not asker.is_spent:
        before = len(made)
        _round(stage, settings, asker, harvest, known, seeds, made, number)
        number, idle = number + 1, 0 if len(made) > before else idle + 1
        stage.events.say(f"round {number}: {len(made):,} of {settings.count:,} instructions")
    if idle == _PATIENCE:
        stage.events.say(
            f"{_PATIENCE} rounds brought nothing new; give more seeds, a higher temperature or a higher rouge_l"
        )
    stage.figures.update(seeds=len(seeds), instructions=len(made), rounds=number)
    harvest.answer(asker, made[: settings.count], settings.answers)
    harvest.write(stage, asker, wanted=settings.count, minimum_share=settings.minimum_share)


def _round(
    stage: StageContext,
    settings: StageSettings,
    asker: Asker,
    harvest: Harvest,
    known: InstructionFilter,
    seeds: list[tuple[str, str]],
    made: list[Instruction],
    number: int,
) -> None:
    """One round of requests; every item of every reply is kept or dropped."""
    from tuningfork.teachers.filters import numbered_items
    from tuningfork.teachers.rows import Instruction
    from tuningfork.teachers.templates import identity

    questions, shown = [], []
    for request in range(settings.requests):
        question, ids = _request(stage, settings, seeds, made, f"{number}/{request}")
        questions.append(question)
        shown.append(ids)
    for question, ids, reply in zip(questions, shown, asker.ask("instructions", questions), strict=True):
        items = numbered_items(reply.text) if reply else []
        if reply and not items:
            harvest.drop("no_list", id=question.id, text=reply.text)
        if reply and items and not reply.has_ended:
            harvest.drop("cut_off", id=question.id, prompt=items.pop())
        for place, text in enumerate(items):
            if (fault := known.fault(text)) is not None:
                harvest.drop(fault, id=f"{question.id}/{place}", prompt=text)
            else:
                origin = {"written_by": asker.provenance(identity("self_instruct"), shown=ids)}
                made.append(Instruction(f"{question.id}/{place}", text, origin))


def _request(
    stage: StageContext, settings: StageSettings, seeds: list[tuple[str, str]], made: list[Instruction], id: str
) -> tuple[Question, list[str]]:
    """A request with seed tasks and earlier ones drawn for it, and the ids of those."""
    from tuningfork.asking.asker import Question
    from tuningfork.randomness import numpy_generator
    from tuningfork.teachers.templates import fill

    draw = numpy_generator(stage.seed, "self-instruct", id)
    chosen = [seeds[i] for i in draw.permutation(len(seeds))[: settings.seeds_shown]]
    chosen += [(made[i].id, made[i].text) for i in draw.permutation(len(made))[: settings.made_shown]]
    chosen = [chosen[i] for i in draw.permutation(len(chosen))]
    shown = "\n".join(f"{place}. {' '.join(text.split())}" for place, (_, text) in enumerate(chosen, 1))
    first, last = len(chosen) + 1, len(chosen) + settings.per_request
    text = fill("self_instruct", shown=shown, wanted=settings.per_request, first=first, last=last)
    return Question(id, text), [name for name, _ in chosen]
