"""What is asked: putting items into the database, and counting what is left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from sqlalchemy import and_, bindparam, func, select

from tuningfork.data.judgements import Candidate
from tuningfork.feedback import schema
from tuningfork.feedback.database import Database
from tuningfork.feedback.project import ProjectSettings
from tuningfork.randomness import derive_seed, uniforms

_BATCH = 2000


@dataclass(frozen=True)
class NewItem:
    """Answers to one prompt that are to be compared. `gold`: the known ranking, of an item that tests annotators.

    Example: NewItem("chair/1", "chair", "what colour is the chair?", [Candidate(text="red"), Candidate(text="azure")])
    """

    name: str
    root: str
    prompt: str
    candidates: list[Candidate]
    messages: list[dict[str, Any]] | None = None
    prompt_ids: list[int] | None = None
    gold: list[list[int]] | None = None
    priority: float = 0.0
    source: str = ""
    round: int = 0


def add_items(database: Database, items: Iterable[NewItem], settings: ProjectSettings) -> int:
    """Put items that are not there yet (by name) into the database; returns how many were new.

    Which items are asked of several annotators is a function of the seed and the item's name.
    """
    added = 0
    for batch in _batches(items):
        with database.write() as connection:
            names = [item.name for item in batch]
            known = set(connection.scalars(select(schema.items.c.name).where(schema.items.c.name.in_(names))))
            rows = [item_row(item, settings, database.now()) for item in batch if item.name not in known]
            distinct = list({row["name"]: row for row in reversed(rows)}.values())[::-1]
            if distinct:
                connection.execute(schema.items.insert(), distinct)
            added += len(distinct)
    return added


def item_row(item: NewItem, settings: ProjectSettings, now: float) -> dict[str, Any]:
    """The row of a new item."""
    wanted = 0 if item.gold is not None else _raters(item.name, settings)
    return {
        "name": item.name,
        "root": item.root,
        "task": schema.PAIR if len(item.candidates) == 2 else schema.RANK,
        "prompt": item.prompt,
        "messages": item.messages,
        "prompt_ids": item.prompt_ids,
        "candidates": [candidate.model_dump(mode="json", exclude_defaults=True) for candidate in item.candidates],
        "wanted": wanted,
        "open_slots": wanted,
        "priority": item.priority,
        "gold": item.gold,
        "source": item.source,
        "round": item.round,
        "created_at": now,
    }


def _raters(name: str, settings: ProjectSettings) -> int:
    if settings.overlap_raters <= settings.raters or not settings.overlap_share:
        return settings.raters
    is_overlap = uniforms([derive_seed(settings.seed, "overlap", name)], 0)[0] < settings.overlap_share
    return settings.overlap_raters if is_overlap else settings.raters


def _batches(items: Iterable[NewItem]) -> Iterator[list[NewItem]]:
    rest = iter(items)
    while batch := list(islice(rest, _BATCH)):
        yield batch


def set_priorities(database: Database, priorities: dict[str, float]) -> None:
    """Ask items in a new order: name -> priority, the highest first. Items on a screen stay there."""
    update = (
        schema.items.update()
        .where(schema.items.c.name == bindparam("item_name"))
        .values(priority=bindparam("item_priority"))
    )
    rows = [{"item_name": name, "item_priority": priority} for name, priority in priorities.items()]
    with database.write() as connection:
        if rows:
            connection.execute(update, rows)


def close_rounds_before(database: Database, number: int) -> None:
    """Ask no more of earlier rounds' items: their policy is not the current one. What is on a screen may still be judged."""
    items = schema.items
    is_old = and_(items.c.round < number, items.c.open_slots > 0)
    with database.write() as connection:
        connection.execute(
            items.update().where(is_old).values(wanted=items.c.wanted - items.c.open_slots, open_slots=0)
        )


@dataclass(frozen=True)
class Counts:
    """How far the whole project is, in judgements; gold items and repeats are left out."""

    wanted: int
    judged: int
    talked: int
    """choices in talks with the model"""

    @property
    def left(self) -> int:
        """Judgements still wanted of the items that are there."""
        return max(0, self.wanted - self.judged)


def count(database: Database) -> Counts:
    """How many judgements are wanted of the items, and how many are there."""
    items, judgements, withdrawals = schema.items.c, schema.judgements.c, schema.withdrawals.c
    with database.read() as connection:
        wanted = connection.scalar(select(func.sum(items.wanted)).where(items.wanted > 0)) or 0
        given = connection.execute(select(judgements.purpose, func.count()).group_by(judgements.purpose)).all()
        taken_back = connection.execute(
            select(judgements.purpose, func.count())
            .select_from(schema.withdrawals.join(schema.judgements, withdrawals.judgement == judgements.id))
            .group_by(judgements.purpose)
        ).all()
    numbers = Counter({row[0]: row[1] for row in given})
    numbers.subtract({row[0]: row[1] for row in taken_back})
    return Counts(wanted, numbers[schema.ORDINARY], numbers[schema.TALK])
