"""Leaving an annotator's judgements out, and taking them in again. Each change is a new row: nothing is deleted."""

from __future__ import annotations

from sqlalchemy import select

from tuningfork.feedback import schema
from tuningfork.feedback.assigning import assign, record, release_held, take_slot
from tuningfork.feedback.database import Database
from tuningfork.feedback.judging import Refused
from tuningfork.feedback.project import ProjectSettings


def set_excluded(
    database: Database, annotator: str, is_excluded: bool, *, by: str, reason: str = "", action: str | None = None
) -> bool:
    """Leave an annotator's judgements out of figures and exports, or take them in again; whether that changed anything.

    `action`: the id the client made; the same one again does nothing. Refused for a name that nobody has.
    """
    with database.write() as connection:
        known = select(schema.annotators.c.name).where(schema.annotators.c.name == annotator).with_for_update()
        if connection.scalar(known) is None:
            raise Refused(f"there is no annotator {annotator!r}", status=404)
        done = action is not None and connection.scalar(select(schema.events.c.id).where(schema.events.c.id == action))
        exclusions = schema.exclusions
        rows = select(exclusions.c.is_excluded).where(exclusions.c.annotator == annotator)
        now_excluded = bool(connection.scalar(rows.order_by(exclusions.c.number.desc()).limit(1)))
        if done or now_excluded == is_excluded:
            return False
        now = database.now()
        connection.execute(
            exclusions.insert().values(annotator=annotator, is_excluded=is_excluded, reason=reason, by=by, at=now)
        )
        details = {"annotator": annotator, "is_excluded": is_excluded, "reason": reason}
        record(connection, "excluded" if is_excluded else "included", now, by, None, details, event=action)
        return True


def adjudicate(database: Database, settings: ProjectSettings, item: str, lead: str) -> None:
    """Put an item whose annotators disagree on the lead's own screen; where it has all its judgements, one more is wanted.

    Refused where the lead has judged it already, or where there is no such item.
    """
    items, assignments = schema.items, schema.assignments
    with database.write() as connection:
        row = select(items.c.number).where(items.c.name == item, items.c.wanted > 0).with_for_update()
        number = connection.scalar(row)
        if number is None:
            raise Refused("there is no such item", status=404)
        mine = select(assignments.c.state).where(
            assignments.c.item == number,
            assignments.c.annotator == lead,
            assignments.c.purpose == schema.ORDINARY,
            assignments.c.state != schema.RELEASED,
        )
        state = connection.scalar(mine)
        if state == schema.OPEN:
            return
        if state is not None:
            raise Refused("you have had this item already; ask somebody else to look at it")
        now = database.now()
        release_held(connection, lead, now)
        if not take_slot(connection, number):
            connection.execute(items.update().where(items.c.number == number).values(wanted=items.c.wanted + 1))
        assigned = assign(connection, settings, lead, number, schema.ORDINARY, now)
        record(connection, "adjudicating", now, lead, assigned.id, {"item": item})
