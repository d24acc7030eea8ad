"""Right, abstained or wrong: grade answers to questions, of models or given ones, for any question-answer data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator

from tuningfork.data.grading import Settings as GradingSettings
from tuningfork.data.questions import Settings as QuestionSettings
from tuningfork.rollout.settings import SamplingSettings
from tuningfork.settings import Input, ReadOnceInput, Settings
from tuningfork.stage import StageContext

if TYPE_CHECKING:
    from tuningfork.data.questions import Question


class StageSettings(Settings):
    """Settings of the stage `honesty`."""

    questions: ReadOnceInput
    """test questions with accepted and, where there are any, wrong answers"""
    reading: QuestionSettings = QuestionSettings()
    """how rows of questions and of given answers are read"""
    grading: GradingSettings = GradingSettings()
    """when an answer is right, and which phrases abstain"""
    models: dict[str, Input] = Field(default_factory=dict)
    """name -> model that answers"""
    given: dict[str, Input] = Field(default_factory=dict)
    """name -> file of answers that somebody gave: rows with the question or its id, and the answer"""
    limit: int | None = Field(default=None, ge=1)
    """how many of the questions are used, the first ones; empty uses all"""
    template: str = "{question}"
    """what a model reads; `Q: {question}\\nA:` suits one that was never fine-tuned"""
    sampling: SamplingSettings = SamplingSettings(max_new_tokens=40)
    """how models answer"""
    costs: tuple[float, ...] = (0.0, 1.0, 4.0)
    """what a wrong answer costs where a right one earns 1 and an abstention nothing; the score at each is reported"""

    @model_validator(mode="after")
    def _somebody_answers(self) -> StageSettings:
        if not self.models and not self.given:
            raise ValueError("give models that answer, or given answers")
        if self.models.keys() & self.given.keys():
            raise ValueError("a name stands for a model or for given answers, not for both")
        if "{question}" not in self.template:
            raise ValueError("template needs {question}")
        return self


def run(stage: StageContext, settings: StageSettings) -> None:
    """Answer, grade, write honesty.json and samples.jsonl."""
    import json

    from tuningfork.data.grading import Grade, grade
    from tuningfork.data.questions import read_questions
    from tuningfork.evals.honesty import describe, measure

    asked = read_questions(stage.inputs["questions"].reference, settings.reading)[: settings.limit]
    groups = {"all": asked} | {group: [q for q in asked if q.group == group] for group in {q.group: 0 for q in asked}}
    content: dict[str, Any] = {}
    for name, texts in _answers(stage, settings, asked).items():
        given = zip(texts, asked, strict=True)
        grades: dict[str, Grade] = {q.id: grade(text, q.accepted, q.wrong, settings.grading) for text, q in given}
        content[name] = {}
        for group, members in groups.items():
            found = measure([grades[q.id] for q in members], [q.root for q in members], stage.seed)
            stage.figures.update({f"{name}/{group}/{kind}": share.value for kind, share in found.shares.items()})
            stage.events.say(describe(f"{name}, {group}", found))
            content[name][group] = found.to_json(settings.costs)
        for text, q in zip(texts, asked, strict=True):
            stage.sample(model=name, prompt=q.text, answer=text, grade=grades[q.id], group=q.group, root=q.root)
    (stage.out / "honesty.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _answers(stage: StageContext, settings: StageSettings, asked: Sequence[Question]) -> dict[str, list[str]]:
    """Texts by name, one for each question."""
    from tuningfork.data.questions import after, read_given
    from tuningfork.evals.answers import answer_prompts
    from tuningfork.model.loading import load_backbone

    found: dict[str, list[str]] = {}
    rows = [{"id": q.id, "prompt": settings.template.replace("{question}", q.text), "root": q.root} for q in asked]
    for name in settings.models:
        backbone = load_backbone(stage.inputs[f"models.{name}"].reference, stage.runtime)
        answers = answer_prompts(backbone, rows, settings.sampling, seed=stage.seed, purpose="honesty").answers
        found[name] = [answer.text for answer in answers]
    for name in settings.given:
        found[name] = read_given(stage.inputs[f"given.{name}"].reference, asked, settings.reading)
    return {name: [after(text, settings.reading.after) for text in texts] for name, texts in found.items()}
