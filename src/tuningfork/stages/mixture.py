"""Rows of several sources as one data set in one form, with a held-out part of each source beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from tuningfork.data.reading import ReadingSettings
from tuningfork.settings import Input, Settings
from tuningfork.stage import StageContext

if TYPE_CHECKING:
    from tuningfork.data.adapters import Placed


class SourceSettings(Settings):
    """One source of a mixture."""

    data: Input
    """a file or folder"""
    reading: ReadingSettings = ReadingSettings()
    """what to make of its rows"""
    rows: int | None = Field(default=None, ge=1)
    """rows to train on, drawn by seed; empty takes all that are not held out"""


class StageSettings(Settings):
    """Settings of the stage `mixture`."""

    sources: tuple[SourceSettings, ...] = Field(min_length=1)
    """what is mixed"""
    form: Literal["text", "conversation"]
    """what rows become: texts to pretrain on (conversations as Human and Assistant paragraphs), or conversations to fine-tune
    on (pairs become one turn)"""
    heldout_share: float = Field(default=0.0, ge=0, lt=1)
    """share of the rows of each source that are not trained on; rows of equal prompts stay together"""
    most_words: int | None = Field(default=None, ge=1)
    """longer rows are left out and counted"""


def run(stage: StageContext, settings: StageSettings) -> None:
    """Write train.jsonl and, with a held-out share, heldout.jsonl, both shuffled by seed."""
    from tuningfork.data.jsonl import write_jsonl
    from tuningfork.errors import DataError
    from tuningfork.randomness import numpy_generator

    parts: dict[str, list[dict[str, Any]]] = {"train": [], "heldout": []}
    for number, source in enumerate(settings.sources):
        where = stage.inputs[f"sources.{number}.data"].reference
        rows = _read(stage, settings, source, where)
        train, heldout = _split(rows, settings.heldout_share, stage.seed, number)
        if source.rows is not None:
            if len(train) < source.rows:
                raise DataError(
                    f"{where}: {len(train):,} rows to train on, fewer than the {source.rows:,} of sources.{number}.rows"
                )
            train = train[: source.rows]
        parts["train"] += train
        parts["heldout"] += heldout
        stage.events.say(f"{where}: {len(train):,} rows to train on, {len(heldout):,} held out, of {len(rows):,}")
    for name, rows in parts.items():
        if rows:
            order = numpy_generator(stage.seed, "mixture", name).permutation(len(rows))
            write_jsonl(stage.out / f"{name}.jsonl", (rows[index] for index in order))
        stage.figures[f"{name}_rows"] = len(rows)


def _read(stage: StageContext, settings: StageSettings, source: SourceSettings, where: str) -> list[dict[str, Any]]:
    from tuningfork.data.adapters import DEMONSTRATION_SHAPES, TEXT_SHAPES, conversations, demonstrations, texts
    from tuningfork.data.dialogue import tagged_text
    from tuningfork.errors import DataError

    shapes = DEMONSTRATION_SHAPES if settings.form == "conversation" else (*TEXT_SHAPES, *DEMONSTRATION_SHAPES)
    data = source.reading.open(where, shapes)
    placed: list[Placed] = list(texts(data)) if data.shape in TEXT_SHAPES else conversations(demonstrations(data))
    if settings.form == "text" and data.shape not in TEXT_SHAPES:
        placed = [(place, {"text": tagged_text(row["messages"])}) for place, row in placed]
    if data.skipped.count:
        stage.events.say(str(data.skipped))
    kept = [row for _, row in placed if settings.most_words is None or len(_whole(row).split()) <= settings.most_words]
    if len(kept) < len(placed):
        stage.figures["too_long"] = stage.figures.get("too_long", 0) + len(placed) - len(kept)
        stage.events.say(
            f"{where}: {len(placed) - len(kept):,} of {len(placed):,} rows have more than {settings.most_words} words"
        )
    if not kept:
        raise DataError(f"{where}: no row is left; raise most_words")
    return kept


def _split(
    rows: list[dict[str, Any]], share: float, seed: int, number: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Shuffled rows to train on and held-out ones; a question, with all its answers, is on one side."""
    from tuningfork.data.duplicates import fingerprint
    from tuningfork.randomness import numpy_generator

    groups: dict[bytes, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(fingerprint(row["text"] if "text" in row else row["messages"][0]["content"]), []).append(row)
    order = list(groups.values())
    order = [order[index] for index in numpy_generator(seed, "split", number).permutation(len(order))]
    num_heldout = int(share * len(order))
    heldout, train = order[:num_heldout], order[num_heldout:]
    return [row for group in train for row in group], [row for group in heldout for row in group]


def _whole(row: dict[str, Any]) -> str:
    return row["text"] if "text" in row else "\n".join(message["content"] for message in row["messages"])
