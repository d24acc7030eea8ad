"""Let a model critique its answers by the principles of a constitution and revise them: demonstrations to fine-tune on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

from pydantic import Field

from tuningfork.asking.settings import AskedSettings, ReplySampling
from tuningfork.data.reading import ReadingSettings
from tuningfork.settings import Input, Settings
from tuningfork.stage import StageContext

if TYPE_CHECKING:
    from tuningfork.asking.asker import Asker
    from tuningfork.asking.replies import Reply
    from tuningfork.judges.constitution import Constitution, Principle


class StageSettings(Settings):
    """Settings of the stage `critique`."""

    by: AskedSettings
    """the model that critiques and revises, and answers where `data` has no answers"""
    data: Input
    """prompts, or demonstrations whose answers are critiqued"""
    reading: ReadingSettings = ReadingSettings()
    """what to make of the rows of `data`"""
    constitution: Input
    """YAML file of principles, see docs/judges.md; one is drawn for each answer in each round"""
    critique_prompt: Input | None = None
    """text file with the question for a critique: `$prompt`, `$answer` and `$principle`; empty takes the package's own"""
    revise_prompt: Input | None = None
    """text file with the question for a revision, which also has `$critique`; empty takes the package's own"""
    answers: bool = True
    """whether the answers of demonstrations are critiqued; false lets the model answer their prompts itself"""
    rounds: int = Field(default=1, ge=1)
    """critiques and revisions of each answer, each of the revision before"""
    limit: int | None = Field(default=None, ge=1)
    """use only this many prompts, drawn by seed; empty uses all"""
    sampling: ReplySampling = ReplySampling(max_new_tokens=256)
    """how answers, critiques and revisions are drawn"""
    minimum_share: float = Field(default=0.8, ge=0, le=1)
    """share of the prompts that have to give a row; fewer stop the run"""


@dataclass
class Thread:
    """One prompt and what became of its answer."""

    id: str
    prompt: str
    answer: str | None
    first: str = ""
    fault: str = ""
    steps: list[dict[str, Any]] = field(default_factory=list)


def run(stage: StageContext, settings: StageSettings) -> None:
    """Critique and revise; write data.jsonl, whose completions are the last revisions, and dropped.jsonl."""
    from tuningfork.asking.asker import open_asker
    from tuningfork.data.jsonl import write_jsonl
    from tuningfork.judges.constitution import load_constitution

    constitution = load_constitution(Path(stage.inputs["constitution"].reference))
    threads = _threads(stage, settings)
    questions = _questions(stage, settings)
    asker = open_asker(stage, settings.by, settings.sampling, "by")
    _answer(asker, [thread for thread in threads if thread.answer is None])
    for thread in threads:
        thread.first = thread.answer or ""
    for number in range(1, settings.rounds + 1):
        _revise(asker, questions, constitution, [thread for thread in threads if not thread.fault], number)
    kept = [thread for thread in threads if not thread.fault]
    changed = sum(thread.answer != thread.first for thread in kept)
    write_jsonl(stage.out / "data.jsonl", [_row(thread, asker) for thread in kept])
    write_jsonl(
        stage.out / "dropped.jsonl",
        [
            {"reason": t.fault, "id": t.id, "prompt": t.prompt, "first": t.first, "steps": t.steps}
            for t in threads
            if t.fault
        ],
    )
    reasons = Counter(thread.fault for thread in threads if thread.fault)
    drawn = Counter(step["principle"] for thread in kept for step in thread.steps)
    stage.figures.update(
        rows=len(kept), revised=changed / max(1, len(kept)), **{f"dropped_{k}": n for k, n in reasons.items()}
    )
    stage.figures["principles"] = dict(drawn.most_common())
    asker.report()
    for thread in kept[:20]:
        stage.sample(prompt=thread.prompt, first=thread.first, response=thread.answer, steps=thread.steps)
    why = ", ".join(f"{name} {count:,}" for name, count in reasons.most_common()) or "nothing"
    stage.gate(
        "rows",
        len(kept) >= settings.minimum_share * len(threads),
        f"{len(kept):,} of {len(threads):,} prompts have an answer (at least {settings.minimum_share:.0%}), {changed:,} of them "
        f"revised; dropped: {why}",
    )


def _threads(stage: StageContext, settings: StageSettings) -> list[Thread]:
    """The prompts, with their answers where those are critiqued."""
    from tuningfork.data.adapters import prompt_text
    from tuningfork.errors import DataError
    from tuningfork.randomness import numpy_generator

    source = stage.inputs["data"].reference
    found = []
    for number, (_, row) in enumerate(settings.reading.open(source, ("prompts", "prompt_completion")).placed(), 1):
        completion = row.get("completion") if settings.answers else None
        answer = completion if isinstance(completion, str) or completion is None else completion[-1]["content"]
        name = str(row.get("extra", {}).get("id", number))
        found.append(Thread(f"{number}-{name}", prompt_text(row["prompt"]), answer))
    if not found:
        raise DataError(f"{source}: no prompts")
    order = numpy_generator(stage.seed, "critique").permutation(len(found))[: settings.limit]
    return [found[index] for index in order.tolist()]


def _answer(asker: Asker, threads: Sequence[Thread]) -> None:
    from tuningfork.asking.asker import Question

    replies = asker.ask("answer", [Question(thread.id, thread.prompt) for thread in threads])
    for thread, reply in zip(threads, replies, strict=True):
        thread.fault = _fault(reply, "answer")
        thread.answer = reply.text.strip() if reply else ""


def _questions(stage: StageContext, settings: StageSettings) -> dict[str, Template]:
    """How critiques and revisions are asked for; DataError for a file that lacks a place."""
    from tuningfork.judges.questions import load_template

    needed = {"prompt", "answer"}
    files = {"critique": settings.critique_prompt, "revise": settings.revise_prompt}
    return {
        name: load_template(
            name,
            stage.inputs[f"{name}_prompt"].reference if file else None,
            needed | ({"critique"} if name == "revise" else set()),
            {"principle"},
        )
        for name, file in files.items()
    }


def _revise(
    asker: Asker, questions: Mapping[str, Template], constitution: Constitution, threads: Sequence[Thread], number: int
) -> None:
    """One round: a critique by a drawn principle, then a revision. What fails drops the thread, with the reason."""
    from tuningfork.asking.asker import Question

    principles = constitution.draw("critique", [thread.id for thread in threads], asker.stage.seed, number)

    def ask(purpose: str, texts: Sequence[str], asked: Sequence[Thread]) -> list[Reply | None]:
        pairs = zip(asked, texts, strict=True)
        return asker.ask(f"{purpose} {number}", [Question(thread.id, text) for thread, text in pairs])

    texts = [_fill(questions["critique"], t, p.critique) for t, p in zip(threads, principles, strict=True)]
    for thread, principle, reply in zip(threads, principles, ask("critique", texts, threads), strict=True):
        thread.fault = _fault(reply, "critique")
        if reply:
            thread.steps.append({"principle": principle.name, "critique": reply.text.strip(), "of": thread.answer})
    left: list[tuple[Thread, Principle]] = [pair for pair in zip(threads, principles, strict=True) if not pair[0].fault]
    texts = [_fill(questions["revise"], t, p.revise, critique=t.steps[-1]["critique"]) for t, p in left]
    for (thread, _), reply in zip(left, ask("revise", texts, [t for t, _ in left]), strict=True):
        thread.fault = _fault(reply, "revision")
        revision = reply.text.strip() if reply else ""
        if not thread.fault and thread.steps[-1]["critique"] in revision:
            thread.fault = "revision_repeats_critique"
        thread.answer = thread.answer if thread.fault else revision


def _fault(reply: Reply | None, what: str) -> str:
    """Why a reply is of no use; empty for one that is."""
    if reply is None:
        return "left_unasked"
    if not reply.has_ended:
        return f"{what}_cut_off"
    return "" if reply.text.strip() else f"{what}_empty"


def _fill(question: Template, thread: Thread, principle: str, **more: str) -> str:
    values = {"prompt": thread.prompt, "answer": thread.answer or "", "principle": principle, **more}
    return question.substitute(values).strip()


def _row(thread: Thread, asker: Asker) -> dict[str, Any]:
    """What is learnt: the last revision. Critiques stand beside it, never in it."""
    provenance = asker.provenance("critique and revise", first=thread.first, steps=thread.steps)
    extra = {"id": thread.id, "root": thread.prompt, "provenance": provenance}
    return {"prompt": thread.prompt, "completion": thread.answer, "extra": extra}
