"""The prompts of rows of any shape, each once: to sample from, to optimise on, or to evaluate with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from tuningfork.data.reading import ReadingSettings
from tuningfork.settings import Input, Settings
from tuningfork.stage import StageContext

if TYPE_CHECKING:
    from tuningfork.data.raw import Row

SHAPES = ("prompts", "prompt_completion", "preference", "ranking", "unpaired")


class StageSettings(Settings):
    """Settings of the stage `prompts`."""

    data: Input
    """prompts, demonstrations, preferences, rankings or single answers that were found good or bad; answers are left aside"""
    reading: ReadingSettings = ReadingSettings()
    """what to make of its rows"""
    most_words: int | None = Field(default=None, ge=1)
    """longer prompts are left out and counted"""
    limit: int | None = Field(default=None, ge=1)
    """at most this many prompts, drawn by seed"""


def run(stage: StageContext, settings: StageSettings) -> None:
    """Write prompts.jsonl, `{"id", "prompt", "root"}` rows, with `messages` where a prompt is a list of them."""
    from tuningfork.data.duplicates import fingerprint
    from tuningfork.data.jsonl import write_jsonl
    from tuningfork.errors import DataError
    from tuningfork.randomness import numpy_generator

    data = settings.reading.open(stage.inputs["data"].reference, SHAPES)
    found: dict[bytes, dict[str, Any]] = {}
    for number, row in enumerate(data, 1):
        made = _prompt(row, number)
        found.setdefault(fingerprint(made["prompt"]), made)
    most = settings.most_words
    rows = [row for row in found.values() if most is None or len(row["prompt"].split()) <= most]
    if not rows:
        raise DataError(f"{data.source}: no prompt is left of {len(found):,}; raise most_words")
    num_long = len(found) - len(rows)
    if settings.limit is not None and settings.limit < len(rows):
        chosen = numpy_generator(stage.seed, "prompts").choice(len(rows), settings.limit, replace=False)
        rows = [rows[index] for index in sorted(chosen.tolist())]
    write_jsonl(stage.out / "prompts.jsonl", rows)
    num_roots = len({row["root"] for row in rows})
    stage.figures.update(prompts=len(rows), roots=num_roots, too_long=num_long)
    long = f"; {num_long:,} have more than {most} words" if num_long else ""
    stage.events.say(f"{len(rows):,} of {len(found):,} different prompts, {num_roots:,} roots{long}")


def _prompt(row: Row, number: int) -> dict[str, Any]:
    """Dialogues that begin with the same question have one root, where the row names none."""
    from tuningfork.data.adapters import prompt_text
    from tuningfork.data.dialogue import is_tagged, tagged_messages

    prompt, extra = row["prompt"], row.get("extra", {})
    messages = {} if isinstance(prompt, str) else {"messages": prompt}
    turns = tagged_messages(prompt) if is_tagged(prompt) else messages.get("messages", [])
    first = next((turn["content"] for turn in turns if turn["role"] == "user"), None)
    root = extra.get("root", prompt_text(prompt) if first is None else first)
    return {"id": str(extra.get("id", number)), "prompt": prompt_text(prompt), "root": str(root), **messages}
