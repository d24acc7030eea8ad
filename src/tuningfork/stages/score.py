"""Score responses of a file by any reward: a table, every part of the score, and the scale for a sum of rewards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from tuningfork.data.reading import ReadingSettings
from tuningfork.reward.settings import RewardSettings
from tuningfork.settings import Input, Settings
from tuningfork.stage import StageContext

if TYPE_CHECKING:
    from tuningfork.reward.base import Item, Score


class StageSettings(Settings):
    """Settings of the stage `score`."""

    reward: RewardSettings
    """what scores"""
    data: Input
    """prompts with responses: demonstrations, labelled responses, preferences, rankings or judgements"""
    reading: ReadingSettings = ReadingSettings()
    """what to make of the rows of `data`"""
    limit: int | None = Field(default=None, ge=1)
    """score only the first this many rows; empty scores all"""
    max_unscorable: float = Field(default=0.5, ge=0, le=1)
    """share of the responses that may have no score; more stop the run"""


def run(stage: StageContext, settings: StageSettings) -> None:
    """Write scores.jsonl, table.md and scale.json; say the table, and how often the better response has the higher score."""
    from itertools import islice

    from tuningfork.data.jsonl import write_jsonl
    from tuningfork.errors import DataError
    from tuningfork.evals.score_table import score_table
    from tuningfork.reward import load_reward
    from tuningfork.reward.scale import ScoreScale

    source = stage.inputs["data"].reference
    placed = list(islice(_items(settings, source), settings.limit))
    if not placed:
        raise DataError(f"{source}: no responses to score")
    reward = load_reward(settings.reward, stage.inputs, stage.runtime)
    scores = reward.score([item for _, _, item in placed])
    rows = [
        {
            "prompt": item.prompt,
            "response": item.response,
            "group": group,
            "score": score.total,
            "parts": dict(score.parts),
        }
        for (_, group, item), score in zip(placed, scores, strict=True)
    ]
    write_jsonl(stage.out / "scores.jsonl", rows)
    table = score_table([group for _, group, _ in placed], scores)
    (stage.out / "table.md").write_text(table.markdown() + "\n", encoding="utf-8")
    stage.events.say(table.plain())
    stage.figures.update(table.figures())
    _compare(stage, placed, scores)
    for row in rows[:20]:
        stage.sample(**row)
    missing = sum(score.total is None for score in scores)
    passed = missing <= settings.max_unscorable * len(scores)
    stage.gate(
        "scorable",
        passed,
        f"{missing:,} of {len(scores):,} responses have no score (at most {settings.max_unscorable:.0%})",
    )
    if len({score.total for score in scores if score.total is not None}) > 1:
        ScoreScale.fit(score.total for score in scores).save(stage.out / "scale.json")


def _items(settings: StageSettings, source: str) -> Iterator[tuple[int, str, Item]]:
    """(number of the row, group, item): groups are `chosen` and `rejected`, `good` and `bad`, or `response`."""
    from tuningfork.data.adapters import RANKING_SHAPES, prompt_text
    from tuningfork.data.judgements import read_judgements
    from tuningfork.reward.base import Item

    data = settings.reading.open(source, ("prompt_completion", "unpaired", "conversation", *RANKING_SHAPES))
    if data.shape in RANKING_SHAPES:
        for number, judgement in enumerate(read_judgements(data)):
            for place, group in enumerate(judgement.ranking):
                name = "chosen" if place == 0 else "rejected"
                for candidate in group:
                    yield (
                        number,
                        name,
                        Item(judgement.prompt, judgement.candidates[candidate].text, {"root": judgement.root}),
                    )
        return
    for number, (_, row) in enumerate(data.placed()):
        known = {**row.get("extra", {}), **{key: value for key, value in row.items() if key != "extra"}}
        if "messages" in row:
            turns = row["messages"]
            yield number, "response", Item(prompt_text(turns[:-1]), turns[-1]["content"], known)
        else:
            completion = row["completion"]
            response = completion if isinstance(completion, str) else completion[-1]["content"]
            group = "response" if "label" not in row else ("good" if row["label"] else "bad")
            yield number, group, Item(prompt_text(row["prompt"]), response, known)


def _compare(stage: StageContext, placed: Sequence[tuple[int, str, Item]], scores: Sequence[Score]) -> None:
    """How often a chosen response scores higher than a rejected one to the same prompt, with Wilson's interval."""
    from tuningfork.evals.statistics import wilson_interval

    by_row: dict[int, Mapping[str, list[float]]] = {}
    for (number, group, _), score in zip(placed, scores, strict=True):
        if group in ("chosen", "rejected") and score.total is not None:
            by_row.setdefault(number, {"chosen": [], "rejected": []})[group].append(score.total)
    pairs = [(a, b) for row in by_row.values() for a in row["chosen"] for b in row["rejected"]]
    if not pairs:
        return
    right, ties = sum(a > b for a, b in pairs), sum(a == b for a, b in pairs)
    low, high = wilson_interval(right, len(pairs))
    found: dict[str, Any] = {"accuracy": right / len(pairs), "accuracy_ci95": [low, high], "equal": ties / len(pairs)}
    stage.figures.update(found)
    stage.events.say(
        f"the better response has the higher score in {found['accuracy']:.3f} of {len(pairs):,} comparisons (95 % interval "
        f"{low:.3f} to {high:.3f}); {found['equal']:.3f} are equal"
    )
