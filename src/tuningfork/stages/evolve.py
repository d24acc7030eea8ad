"""Let a larger model make instructions deeper, broader or more bound, and answer them (Evol-Instruct, Xu et al. 2023, 2304.12244)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from tuningfork.asking.settings import AskedSettings, ReplySampling
from tuningfork.data.reading import ReadingSettings
from tuningfork.settings import Input, Settings
from tuningfork.stage import StageContext
from tuningfork.teachers.settings import AnswerRules, InstructionRules

if TYPE_CHECKING:
    from tuningfork.asking.asker import Asker
    from tuningfork.teachers.filters import InstructionFilter
    from tuningfork.teachers.rows import Harvest, Instruction

Operation = Literal["deepen", "broaden", "constrain"]


class StageSettings(Settings):
    """Settings of the stage `evolve`."""

    teacher: AskedSettings
    """who writes"""
    data: Input
    """instructions to start from: prompts, or demonstrations whose answers are left out"""
    reading: ReadingSettings = ReadingSettings()
    """what to make of the rows of `data`"""
    limit: int | None = Field(default=None, ge=1)
    """use only this many instructions, drawn by seed; empty uses all"""
    rounds: int = Field(default=2, ge=1)
    """how often each instruction is evolved; an eliminated one leaves its parent for the next round"""
    operations: tuple[Operation, ...] = Field(default=("deepen", "broaden", "constrain"), min_length=1)
    """what may be done to an instruction; each time one of them is drawn"""
    check_equal: bool = True
    """whether the teacher is asked if an evolved instruction asks for the same as its parent, and is then eliminated"""
    sampling: ReplySampling = ReplySampling()
    """how replies are drawn"""
    instructions: InstructionRules = InstructionRules(rouge_l=0.9)
    """which instructions are kept; a condition added to a long one leaves most of its words, so that .7 would drop it"""
    answers: AnswerRules = AnswerRules()
    """which answers are kept"""
    minimum_share: float = Field(default=0.5, ge=0, le=1)
    """share of instructions times rounds below which the run stops"""


def run(stage: StageContext, settings: StageSettings) -> None:
    """Evolve, eliminate, answer, write data.jsonl and dropped.jsonl."""
    from tuningfork.asking.asker import open_asker
    from tuningfork.randomness import numpy_generator
    from tuningfork.teachers.filters import InstructionFilter
    from tuningfork.teachers.rows import Harvest, Instruction, read_prompts

    prompts = read_prompts(settings.reading, stage.inputs["data"].reference)
    chosen = numpy_generator(stage.seed, "instructions").permutation(len(prompts))[: settings.limit]
    current = [Instruction(f"{i}-{prompts[i][0]}", prompts[i][1], {"root": prompts[i][0]}) for i in map(int, chosen)]
    asker, harvest = open_asker(stage, settings.teacher, settings.sampling), Harvest()
    known = InstructionFilter(settings.instructions, [one.text for one in current])
    evolved: list[Instruction] = []
    for number in range(1, settings.rounds + 1):
        following = _evolve(stage, settings, asker, harvest, known, current, number)
        new = [child for parent, child in zip(current, following, strict=True) if child is not parent]
        evolved += new
        stage.events.say(f"round {number}: {len(new):,} of {len(current):,} instructions evolved")
        current = following
    stage.figures.update(instructions=len(chosen), evolved=len(evolved))
    harvest.answer(asker, evolved, settings.answers)
    wanted = len(chosen) * settings.rounds
    harvest.write(stage, asker, wanted=wanted, minimum_share=settings.minimum_share)


def _evolve(
    stage: StageContext,
    settings: StageSettings,
    asker: Asker,
    harvest: Harvest,
    known: InstructionFilter,
    parents: Sequence[Instruction],
    number: int,
) -> list[Instruction]:
    """The next generation, in the order of the parents; a parent itself where its child was eliminated."""
    from tuningfork.asking.asker import Question
    from tuningfork.randomness import numpy_generator
    from tuningfork.teachers.filters import evolved_fault
    from tuningfork.teachers.rows import Instruction
    from tuningfork.teachers.templates import fill, identity

    picks = numpy_generator(stage.seed, "evolve", number).integers(len(settings.operations), size=len(parents))
    names = [settings.operations[pick] for pick in picks]
    ids = [f"{parent.id}>{number}" for parent in parents]
    asked = [Question(i, fill(n, instruction=p.text)) for i, n, p in zip(ids, names, parents, strict=True)]
    replies = asker.ask("evolve", asked)
    texts = [reply.text.strip().removeprefix("Task:").strip() if reply else "" for reply in replies]
    equal = _equal(settings, asker, ids, parents, texts)
    following = []
    for parent, name, id, text, reply in zip(parents, names, ids, texts, replies, strict=True):
        fault = "left_unasked" if reply is None else evolved_fault(text, reply)
        fault = fault or ("nothing_added" if id in equal else known.fault(text))
        if fault:
            harvest.drop(fault, id=id, parent=parent.text, prompt=text)
            following.append(parent)
            continue
        step = asker.provenance(identity(name), parent=parent.id, depth=parent.origin.get("depth", 0) + 1)
        origin = {"root": parent.origin["root"], "depth": step["depth"], "written_by": step}
        following.append(Instruction(id, text, origin))
    return following


def _equal(
    settings: StageSettings, asker: Asker, ids: Sequence[str], parents: Sequence[Instruction], texts: Sequence[str]
) -> set[str]:
    """Ids of evolved instructions that, says the teacher, ask for what their parent asks for."""
    from tuningfork.asking.asker import Question
    from tuningfork.teachers.templates import fill

    if not settings.check_equal:
        return set()
    asked = [
        Question(id, fill("equal", instruction=parent.text, evolved=text))
        for id, parent, text in zip(ids, parents, texts, strict=True)
        if text
    ]
    replies = asker.ask("equal", asked)
    return {one.id for one, reply in zip(asked, replies, strict=True) if reply and _says_equal(reply.text)}


def _says_equal(text: str) -> bool:
    return text.strip().strip("\"'*. ").lower().startswith("equal")
