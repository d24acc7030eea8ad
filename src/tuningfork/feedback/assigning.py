"""Who is asked what next. An item on a screen is leased: it is nobody else's until it is answered, given back or the lease ends.

A place for a judgement (`items.open_slots`) is taken when the item is assigned and given back when it is not judged after
all, in one transaction each, so that no item gets more judgements than are wanted.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, RowMapping, and_, exists, func, select

from tuningfork.feedback import schema
from tuningfork.feedback.database import Database
from tuningfork.feedback.project import ProjectSettings
from tuningfork.randomness import derive_seed, numpy_generator, uniforms

_RECLAIM_AT_ONCE = 50
NEVER = 1e15
"""An expiry that does not come."""


@dataclass(frozen=True)
class Assigned:
    """An item on an annotator's screen. `shown`: numbers of its answers in the order the annotator sees them."""

    id: str
    purpose: str
    shown: list[int]
    item: RowMapping


def next_assignment(database: Database, settings: ProjectSettings, annotator: str) -> Assigned | None:
    """What the annotator is asked now: what is on the screen already, or something new; None when nothing is left."""
    reclaim_expired(database)
    with database.write() as connection:
        lock_annotator(connection, annotator)
        held = _held(connection, annotator)
        if held is not None:
            renew(connection, held["id"], database.now() + settings.lease_seconds)
            return _assigned(connection, held)
        purpose, item = _choose(connection, settings, annotator)
        if item is None:
            return None
        if purpose == schema.ORDINARY:
            take_slot(connection, item)
        return assign(connection, settings, annotator, item, purpose, database.now())


def lock_annotator(connection: Connection, annotator: str) -> None:
    """Let one request of an annotator work at a time (in SQLite a write is alone anyway)."""
    row = select(schema.annotators.c.name).where(schema.annotators.c.name == annotator)
    assert connection.scalar(row.with_for_update()) is not None, annotator


def assign(
    connection: Connection, settings: ProjectSettings, annotator: str, item: int, purpose: str, now: float
) -> Assigned:
    """Put an item on the annotator's screen, its sides in an order of its own, and note that it was shown."""
    assignments = schema.assignments
    expires = NEVER if purpose == schema.TALK else now + settings.lease_seconds
    mine = and_(assignments.c.annotator == annotator, assignments.c.item == item, assignments.c.purpose == purpose)
    earlier = connection.execute(select(assignments).where(mine)).mappings().one_or_none()
    if earlier is not None:
        connection.execute(
            assignments.update().where(mine).values(state=schema.OPEN, assigned_at=now, expires_at=expires)
        )
        row: Any = earlier
    else:
        name, candidates = connection.execute(
            select(schema.items.c.name, schema.items.c.candidates).where(schema.items.c.number == item)
        ).one()
        order = numpy_generator(settings.seed, "sides", annotator, name, purpose).permutation(len(candidates))
        row = {"id": uuid.uuid4().hex, "purpose": purpose, "shown": [int(number) for number in order], "item": item}
        connection.execute(
            assignments.insert().values(
                **row, annotator=annotator, state=schema.OPEN, attempt=0, assigned_at=now, expires_at=expires
            )
        )
    record(connection, "shown", now, annotator, row["id"], {"shown": row["shown"], "purpose": purpose})
    return _assigned(connection, row)


def record(
    connection: Connection,
    kind: str,
    now: float,
    annotator: str | None = None,
    assignment: str | None = None,
    details: dict[str, Any] | None = None,
    event: str | None = None,
) -> None:
    """Add an event; `event` is its id where the client made one."""
    connection.execute(
        schema.events.insert().values(
            id=event or uuid.uuid4().hex,
            at=now,
            annotator=annotator,
            assignment=assignment,
            kind=kind,
            details=details or {},
        )
    )


def take_slot(connection: Connection, item: int) -> bool:
    """Take a place for one more judgement of an item; whether there was one."""
    where = and_(schema.items.c.number == item, schema.items.c.open_slots > 0)
    taken = connection.execute(schema.items.update().where(where).values(open_slots=schema.items.c.open_slots - 1))
    return taken.rowcount == 1


def give_slot(connection: Connection, item: int) -> None:
    """Give a place back."""
    connection.execute(
        schema.items.update().where(schema.items.c.number == item).values(open_slots=schema.items.c.open_slots + 1)
    )


def renew(connection: Connection, assignment: str, expires_at: float) -> None:
    """Keep an open item with its annotator for longer."""
    assignments = schema.assignments
    connection.execute(
        assignments.update()
        .where(assignments.c.id == assignment, assignments.c.state == schema.OPEN)
        .values(expires_at=expires_at)
    )


def release_held(connection: Connection, annotator: str, now: float) -> None:
    """Give back what is on the annotator's screen; it comes again later."""
    held = _held(connection, annotator)
    if held is not None:
        _release(connection, held, now)


def reclaim_expired(database: Database) -> int:
    """Give back what was on pages that are gone. Returns how many items."""
    assignments, now = schema.assignments, database.now()
    is_expired = and_(assignments.c.state == schema.OPEN, assignments.c.expires_at < now)
    with database.read() as connection:
        expired = list(connection.scalars(select(assignments.c.id).where(is_expired).limit(_RECLAIM_AT_ONCE)))
    reclaimed = 0
    for assignment in expired:
        with database.write() as connection:
            row = select(assignments).where(is_expired, assignments.c.id == assignment)
            held = connection.execute(row.with_for_update(skip_locked=True)).mappings().one_or_none()
            if held is not None:
                _release(connection, held, now)
                reclaimed += 1
    return reclaimed


def _release(connection: Connection, held: RowMapping, now: float) -> None:
    assignments = schema.assignments
    connection.execute(
        assignments.update().where(assignments.c.id == held["id"]).values(state=schema.RELEASED, expires_at=now)
    )
    if held["purpose"] == schema.ORDINARY:
        give_slot(connection, held["item"])
    record(connection, "released", now, held["annotator"], held["id"])


def _held(connection: Connection, annotator: str) -> RowMapping | None:
    """The open assignment of the annotator, talks left aside."""
    assignments = schema.assignments
    row = select(assignments).where(
        assignments.c.annotator == annotator,
        assignments.c.state == schema.OPEN,
        assignments.c.purpose != schema.TALK,
    )
    return connection.execute(row.with_for_update()).mappings().one_or_none()


def _assigned(connection: Connection, row: RowMapping | dict[str, Any]) -> Assigned:
    item = connection.execute(select(schema.items).where(schema.items.c.number == row["item"])).mappings().one()
    return Assigned(row["id"], row["purpose"], list(row["shown"]), item)


def _choose(connection: Connection, settings: ProjectSettings, annotator: str) -> tuple[str, int | None]:
    """(purpose, item): now and then a known answer or a repeat, as the draw for this place of the annotator says."""
    assignments = schema.assignments.c
    done = connection.scalar(select(func.count()).where(assignments.annotator == annotator)) or 0
    ordinary = _next_ordinary(connection, annotator)
    draw = uniforms([derive_seed(settings.seed, "purpose", annotator, done)], 0)[0]
    if ordinary is not None and draw < settings.gold_share:
        gold = _next_gold(connection, annotator)
        if gold is not None:
            return schema.GOLD, gold
    if ordinary is not None and settings.gold_share <= draw < settings.gold_share + settings.repeat_share:
        repeat = _next_repeat(connection, settings, annotator, done)
        if repeat is not None:
            return schema.REPEAT, repeat
    return schema.ORDINARY, ordinary


def _next_ordinary(connection: Connection, annotator: str) -> int | None:
    items = schema.items.c
    row = (
        select(items.number)
        .where(items.open_slots > 0, ~_was_asked(annotator, schema.ORDINARY))
        .order_by(items.priority.desc(), items.number)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    return connection.scalar(row)


def _next_gold(connection: Connection, annotator: str) -> int | None:
    items = schema.items.c
    row = select(items.number).where(items.gold.is_not(None), ~_was_asked(annotator, schema.GOLD))
    return connection.scalar(row.order_by(items.number).limit(1))


def _next_repeat(connection: Connection, settings: ProjectSettings, annotator: str, done: int) -> int | None:
    """An item the annotator judged a while ago, drawn at random, that was not repeated yet."""
    judgements, withdrawals = schema.judgements.c, schema.withdrawals.c
    rows: Sequence[int] = connection.scalars(
        select(judgements.item)
        .where(
            judgements.annotator == annotator,
            judgements.purpose == schema.ORDINARY,
            ~exists().where(withdrawals.judgement == judgements.id),
        )
        .order_by(judgements.number)
    ).all()[: -settings.repeat_gap]
    repeated = set(
        connection.scalars(
            select(schema.assignments.c.item).where(
                schema.assignments.c.annotator == annotator, schema.assignments.c.purpose == schema.REPEAT
            )
        )
    )
    left = [item for item in rows if item not in repeated]
    if not left:
        return None
    return left[int(numpy_generator(settings.seed, "repeat", annotator, done).integers(len(left)))]


def _was_asked(annotator: str, purpose: str) -> Any:
    """Whether an item has been with the annotator for this purpose; one that was released may come again."""
    assignments = schema.assignments.c
    return (
        exists()
        .where(
            assignments.annotator == annotator,
            assignments.item == schema.items.c.number,
            assignments.purpose == purpose,
            assignments.state != schema.RELEASED,
        )
        .correlate(schema.items)
    )
