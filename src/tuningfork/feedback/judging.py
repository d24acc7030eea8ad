"""What annotators do with an item: judge it, pass it over, flag it, take that back. Sent twice, it happens once.

Every action carries an id made by the client. Where it is there already, the answer was lost on its way and is given again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from sqlalchemy import Connection, RowMapping, select

from tuningfork.errors import TuningforkError
from tuningfork.feedback import schema
from tuningfork.feedback.assigning import assign, give_slot, lock_annotator, record, release_held, take_slot
from tuningfork.feedback.database import Database
from tuningfork.feedback.project import ProjectSettings

Outcome = Literal["saved", "late", "already"]
"""`late`: the lease had ended and somebody else has judged the item meanwhile; kept in the events, counted nowhere."""


class Refused(TuningforkError):
    """An action that cannot be: the message is for the annotator. `status` is that of the HTTP answer."""

    def __init__(self, message: str, status: int = 409) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Answer:
    """A judgement as the page sends it: positions on the screen instead of numbers of answers, best first."""

    id: str
    assignment: str
    ranking: list[list[int]]
    all_bad: bool = False
    strength: float = 0.0
    ratings: list[dict[str, float]] = field(default_factory=list)
    note: str = ""
    edit: str | None = None
    seconds: float | None = None
    client: dict[str, Any] = field(default_factory=dict)


def judge(database: Database, annotator: str, answer: Answer) -> Outcome:
    """Keep a judgement. Refused for an item that is not the annotator's, or that has a judgement already."""
    with database.write() as connection:
        lock_annotator(connection, annotator)
        if repeated := _outcome_of(connection, answer.id, annotator, answer.assignment):
            return repeated
        held = _locked(connection, answer.assignment, annotator)
        now = database.now()
        if held["state"] in (schema.JUDGED, schema.SKIPPED):
            raise Refused("this one has been answered already, in another window perhaps")
        is_late = held["state"] == schema.RELEASED and held["purpose"] == schema.ORDINARY
        if is_late and not take_slot(connection, held["item"]):
            record(connection, "late", now, annotator, held["id"], asdict(answer), event=answer.id)
            return "late"
        shown: list[int] = held["shown"]
        _check_places(answer, len(shown))
        connection.execute(
            schema.judgements.insert().values(
                id=answer.id,
                assignment=held["id"],
                attempt=held["attempt"],
                item=held["item"],
                annotator=annotator,
                purpose=held["purpose"],
                at=now,
                shown=shown,
                ranking=[sorted(shown[place] for place in group) for group in answer.ranking],
                all_bad=answer.all_bad,
                strength=answer.strength,
                ratings=_in_order(answer.ratings, shown),
                note=answer.note,
                edit=answer.edit,
                seconds=answer.seconds,
            )
        )
        _close(connection, held, schema.JUDGED, now)
        record(connection, "judged", now, annotator, held["id"], {"client": answer.client}, event=answer.id)
        return "saved"


def pass_over(
    database: Database, annotator: str, action: str, assignment: str, kind: Literal["skipped", "flagged"], reason: str
) -> Outcome:
    """Skip or flag an item: somebody else may get it, this annotator does not. `action` is the id the client made."""
    with database.write() as connection:
        lock_annotator(connection, annotator)
        if repeated := _outcome_of(connection, action, annotator, assignment):
            return repeated
        held = _locked(connection, assignment, annotator)
        if held["state"] in (schema.JUDGED, schema.SKIPPED):
            raise Refused("this one has been answered already, in another window perhaps")
        if held["state"] == schema.OPEN and held["purpose"] == schema.ORDINARY:
            give_slot(connection, held["item"])
        now = database.now()
        _close(connection, held, schema.SKIPPED, now)
        record(connection, kind, now, annotator, held["id"], {"reason": reason}, event=action)
        return "saved"


@dataclass(frozen=True)
class Undone:
    """The item that is on the screen again, and the judgement that was taken back; None where it had been skipped."""

    assignment: str
    judgement: RowMapping | None


def undo(database: Database, settings: ProjectSettings, annotator: str, action: str) -> Undone | None:
    """Take back the latest judgement, skip or flag and put its item on the screen; None where this was done already.

    Refused where there is nothing to take back, or where somebody else has the skipped item meanwhile.
    """
    assignments, now = schema.assignments, database.now()
    with database.write() as connection:
        lock_annotator(connection, annotator)
        if connection.scalar(select(schema.events.c.id).where(schema.events.c.id == action)):
            return None
        latest = (
            select(assignments)
            .where(
                assignments.c.annotator == annotator,
                assignments.c.acted_at.is_not(None),
                assignments.c.purpose != schema.TALK,
            )
            .order_by(assignments.c.acted_at.desc())
            .limit(1)
        )
        last = connection.execute(latest.with_for_update()).mappings().one_or_none()
        if last is None:
            raise Refused("there is nothing to undo")
        judgement = None
        if last["state"] == schema.JUDGED:
            judgement = _withdraw(connection, last, now)
        elif last["purpose"] == schema.ORDINARY and not take_slot(connection, last["item"]):
            raise Refused("somebody else has that item now")
        release_held(connection, annotator, now)
        again = {"acted_at": None, "attempt": last["attempt"] + (judgement is not None)}
        connection.execute(assignments.update().where(assignments.c.id == last["id"]).values(**again))
        assign(connection, settings, annotator, last["item"], last["purpose"], now)
        record(connection, "undone", now, annotator, last["id"], {}, event=action)
        return Undone(last["id"], judgement)


def _withdraw(connection: Connection, held: RowMapping, now: float) -> RowMapping:
    """Take a judgement back: it stays in its table and counts no more. Returns it."""
    judgements = schema.judgements
    row = select(judgements).where(judgements.c.assignment == held["id"], judgements.c.attempt == held["attempt"])
    judgement = connection.execute(row).mappings().one()
    connection.execute(schema.withdrawals.insert().values(judgement=judgement["id"], at=now))
    return judgement


def _outcome_of(connection: Connection, action: str, annotator: str, assignment: str) -> Outcome | None:
    """What an action with this id did the first time; None where it is new."""
    event = connection.execute(select(schema.events).where(schema.events.c.id == action)).mappings().one_or_none()
    if event is None:
        return None
    if (event["annotator"], event["assignment"]) != (annotator, assignment):
        raise Refused("this id belongs to another action", status=422)
    return "late" if event["kind"] == "late" else "already"


def _locked(connection: Connection, assignment: str, annotator: str) -> RowMapping:
    assignments = schema.assignments
    row = select(assignments).where(assignments.c.id == assignment, assignments.c.annotator == annotator)
    held = connection.execute(row.with_for_update()).mappings().one_or_none()
    if held is None:
        raise Refused("there is no such item on your screen", status=404)
    return held


def _close(connection: Connection, held: RowMapping, state: str, now: float) -> None:
    assignments = schema.assignments
    connection.execute(
        assignments.update().where(assignments.c.id == held["id"]).values(state=state, acted_at=now, expires_at=now)
    )


def _check_places(answer: Answer, number: int) -> None:
    """Refused unless the ranking names every answer on the screen once."""
    if sorted(place for group in answer.ranking for place in group) != list(range(number)) or [] in answer.ranking:
        raise Refused(f"the ranking must name each of the {number} answers once", status=422)
    if answer.ratings and len(answer.ratings) != number:
        raise Refused(f"there must be ratings for each of the {number} answers, or none", status=422)


def _in_order(ratings: Sequence[dict[str, float]], shown: Sequence[int]) -> list[dict[str, float]]:
    """Ratings by place on the screen as ratings by number of the answer."""
    by_number = dict(zip(shown, ratings, strict=False))
    return [by_number[number] for number in sorted(by_number)]
