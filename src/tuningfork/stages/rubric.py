"""Try the classifier of a rubric on answers whose class is known, before its rubric is a reward."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from tuningfork.data.reading import ReadingSettings
from tuningfork.reward.kinds.rubric import Settings as ClassifierSettings
from tuningfork.settings import Input, Settings
from tuningfork.stage import StageContext

if TYPE_CHECKING:
    from tuningfork.reward.base import Item


class StageSettings(Settings):
    """Settings of the stage `rubric`."""

    classifier: ClassifierSettings
    """the rubric and the model that classifies, as in `reward: {name: rubric, ...}`"""
    data: Input
    """answers whose class is known: `{"prompt", "completion"}` rows"""
    reading: ReadingSettings = ReadingSettings()
    """what to make of the rows of `data`"""
    label: str = "class"
    """column with the name of the class"""
    answers: int = Field(default=300, ge=10)
    """how many answers are used, drawn by seed"""
    minimum: float = Field(default=0.6, ge=0, le=1)
    """least share of the answers whose class is the known one; below it the run stops"""
    maximum: float = Field(default=1.0, ge=0, le=1)
    """largest share; below 1 where a classifier that is always right would make the experiment pointless"""


def run(stage: StageContext, settings: StageSettings) -> None:
    """Classify, compare, write classes.jsonl and confusion.json; the gate `agreement`."""
    import json

    from tuningfork.data.jsonl import write_jsonl
    from tuningfork.evals.agreement_statistics import cohens_kappa
    from tuningfork.evals.statistics import wilson_interval
    from tuningfork.judges.rubric import UNREADABLE
    from tuningfork.reward.base import RewardSources
    from tuningfork.reward.kinds.rubric import load

    own = {name.removeprefix("classifier."): value for name, value in stage.inputs.items()}
    reward = load(settings.classifier, RewardSources(own, stage.runtime))
    items, known = _labelled(stage, settings, list(reward.rubric.classes))
    scores = reward.score(items)
    said = [reward.class_of(score) for score in scores]
    right = [a == b for a, b in zip(said, known, strict=True)]
    share, (low, high) = sum(right) / len(right), wilson_interval(sum(right), len(right))
    kappa = cohens_kappa(known, said, seed=stage.seed)
    unreadable = said.count(UNREADABLE) / len(said)
    stage.figures.update(agreement=share, agreement_ci95=[low, high], kappa=kappa.value, answers=len(items))
    stage.figures.update(unreadable=unreadable)
    for name in dict.fromkeys(known):
        own_class = [hit for hit, label in zip(right, known, strict=True) if label == name]
        stage.figures[f"agreement_{name}"] = sum(own_class) / len(own_class)
    table = {name: dict.fromkeys((*reward.rubric.classes, UNREADABLE), 0) for name in reward.rubric.classes}
    for label, found in zip(known, said, strict=True):
        table[label][found] += 1
    (stage.out / "confusion.json").write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    rows = [
        {"prompt": item.prompt, "response": item.response, "class": label, "said": found, "shares": dict(score.parts)}
        for item, label, found, score in zip(items, known, said, scores, strict=True)
    ]
    write_jsonl(stage.out / "classes.jsonl", rows)
    for row in rows[:20]:
        stage.sample(**row)
    stage.events.say(_plain(table))
    stage.gate(
        "agreement",
        settings.minimum <= share <= settings.maximum,
        f"the classifier names the known class of {share:.3f} of {len(items)} answers (95 % interval {low:.3f} to {high:.3f}; "
        f"{settings.minimum:g} to {settings.maximum:g} is asked for), kappa {kappa.value:.2f}, unreadable {unreadable:.1%}",
        agreement=share,
    )


def _labelled(stage: StageContext, settings: StageSettings, classes: Sequence[str]) -> tuple[list[Item], list[str]]:
    """Some of the answers, and their classes; DataError for a row without one of the rubric's."""
    from tuningfork.data.adapters import prompt_text
    from tuningfork.errors import DataError
    from tuningfork.randomness import numpy_generator
    from tuningfork.reward.base import Item

    source = stage.inputs["data"].reference
    items: list[Item] = []
    known: list[str] = []
    for place, row in settings.reading.open(source, ("prompt_completion",)).placed():
        extra: dict[str, Any] = row.get("extra", {})
        label, completion = extra.get(settings.label), row["completion"]
        if label not in classes:
            raise DataError(f"{source}, {place}: {settings.label} is {label!r}; the rubric has {', '.join(classes)}")
        text = completion if isinstance(completion, str) else completion[-1]["content"]
        items.append(Item(prompt_text(row["prompt"]), text, extra))
        known.append(str(label))
    if not items:
        raise DataError(f"{source}: no answers")
    chosen = sorted(numpy_generator(stage.seed, "rubric").permutation(len(items))[: settings.answers].tolist())
    return [items[index] for index in chosen], [known[index] for index in chosen]


def _plain(table: dict[str, dict[str, int]]) -> str:
    """The confusions as lines of text: known class, then what was said of it, the most frequent first."""
    lines = []
    for name, row in table.items():
        if sum(row.values()):
            said = ", ".join(f"{other} {count}" for other, count in sorted(row.items(), key=lambda p: -p[1]) if count)
            lines.append(f"{name}: {said}")
    return "\n".join(lines)
