"""Compare two fine-tuned models by how likely they find answers that others wrote and preferred."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from tuningfork.data.reading import ReadingSettings
from tuningfork.settings import Input, Settings
from tuningfork.stage import StageContext

if TYPE_CHECKING:
    from tuningfork.evals.statistics import Comparison
    from tuningfork.model.backbone import Backbone


class AnswersSettings(Settings):
    """Answers to measure."""

    data: Input
    """demonstrations, preferences or rankings; of the latter two the best answer counts"""
    reading: ReadingSettings = ReadingSettings()
    """what to make of its rows"""
    limit: int | None = Field(default=None, ge=1)
    """use only the first this many"""


class StageSettings(Settings):
    """Settings of the stage `likelihood`."""

    first: Input
    """a model with a chat template"""
    second: Input
    """another one"""
    answers: dict[str, AnswersSettings] = Field(min_length=1)
    """what is measured, by name; answers of an author whom neither model was trained on judge, the others explain"""
    judge: str
    """which of `answers` decides"""
    trained: dict[str, Input] = Field(default_factory=dict)
    """what the models were trained on: answers to prompts that occur in it are left out and counted"""


def run(stage: StageContext, settings: StageSettings) -> None:
    """Measure, compare pairwise, write likelihood.json; the verdict is that of the judge's answers alone."""
    import json
    from dataclasses import asdict

    from tuningfork.errors import RecipeError
    from tuningfork.evals.likelihood import sentence, verdict
    from tuningfork.model.loading import load_backbone

    if settings.judge not in settings.answers:
        raise RecipeError(f"judge: {settings.judge!r} is none of answers ({', '.join(settings.answers)})")
    models = [load_backbone(stage.inputs[name].reference, stage.runtime) for name in ("first", "second")]
    trained = _prompts_of(stage, settings)
    found = {name: _compare(stage, name, one, models, trained) for name, one in settings.answers.items()}
    for name, comparison in found.items():
        stage.events.say(sentence(name, comparison))
        stage.figures.update(
            {f"{name}_first": comparison.before, f"{name}_second": comparison.after, f"{name}_ci95": comparison.ci95}
        )
    stage.figures["better"] = verdict(found[settings.judge])
    stage.events.say(f"better, by {settings.judge}: {stage.figures['better'].replace('_', ' ')}")
    content = {
        "better": stage.figures["better"],
        "judge": settings.judge,
        "answers": {n: asdict(c) for n, c in found.items()},
    }
    (stage.out / "likelihood.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _prompts_of(stage: StageContext, settings: StageSettings) -> set[bytes]:
    from tuningfork.data.adapters import DEMONSTRATION_SHAPES, conversations, demonstrations
    from tuningfork.data.duplicates import fingerprint

    found: set[bytes] = set()
    for name in settings.trained:
        data = ReadingSettings().open(stage.inputs[f"trained.{name}"].reference, DEMONSTRATION_SHAPES)
        found |= {fingerprint(row["messages"][0]["content"]) for _, row in conversations(demonstrations(data))}
    return found


def _compare(
    stage: StageContext, name: str, one: AnswersSettings, models: Sequence[Backbone], trained: set[bytes]
) -> Comparison:
    """Nats a byte under both models, paired by answer; what does not fit the shorter context is left out and counted."""
    from tuningfork.data.demonstrations import demonstration_rows
    from tuningfork.data.duplicates import fingerprint
    from tuningfork.errors import DataError
    from tuningfork.evals.likelihood import answer_bytes, nats_per_byte
    from tuningfork.evals.statistics import paired_comparison

    source = stage.inputs[f"answers.{name}.data"].reference
    rows = _answers(one, source)[: one.limit]
    kept = [row for row in rows if fingerprint(row["messages"][0]["content"]) not in trained]
    rendered = [demonstration_rows(model, kept, source) for model in models]
    longest = [model.max_length for model in models]
    fits = [
        i for i in range(len(kept)) if all(len(r[i].ids) <= most for r, most in zip(rendered, longest, strict=True))
    ]
    stage.figures[f"{name}_left_out"] = len(rows) - len(fits)
    stage.events.say(
        f"{name}: {len(fits):,} of {len(rows):,} answers; {len(rows) - len(kept):,} have a prompt that was trained on, "
        f"{len(kept) - len(fits):,} are longer than the context"
    )
    if not fits:
        raise DataError(f"{source}: no answer is left to measure")
    sizes = [answer_bytes(kept[i]) for i in fits]
    first, second = (nats_per_byte(m, [r[i] for i in fits], sizes) for m, r in zip(models, rendered, strict=True))
    return paired_comparison(first, second, [kept[i]["messages"][0]["content"] for i in fits], stage.seed)


def _answers(one: AnswersSettings, source: str) -> list[Mapping[str, Any]]:
    """Conversations of one source."""
    from tuningfork.data.adapters import DEMONSTRATION_SHAPES, best_answer, conversations, demonstrations

    data = one.reading.open(source, ("ranking", *DEMONSTRATION_SHAPES))
    if data.shape != "ranking":
        return [row for _, row in conversations(demonstrations(data))]
    ranked = [
        (place, row) for place, row in data.placed() if "ranks" in row and row["ranks"].count(min(row["ranks"])) == 1
    ]
    return [row for _, row in conversations((place, best_answer(row)) for place, row in ranked)]
