"""The HTTP interface of the page: who am I, what is next, and what I say about it. All JSON, all below /api.

GET  /api/me                      {annotator, is_lead, can_talk, project, progress}
GET  /api/next                    {item | null, progress}
GET  /api/text                    {text, length}: the rest of a long text
POST /api/judge                   {outcome, item | null, progress}
POST /api/skip, /api/flag         the same
POST /api/undo                    the same, and what had been said
POST /api/renew                   {}: the page is still open

Answers are named by their place on the screen, from 0. `id` is made by the client, a new one for each action; an action sent
again with the same id happens once.
"""

from __future__ import annotations

import statistics
from typing import Annotated, Any

from pydantic import AfterValidator, Field, StringConstraints, field_validator
from sqlalchemy import exists, func, select
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.routing import Route

from tuningfork.feedback import schema
from tuningfork.feedback.assigning import Assigned, next_assignment, renew
from tuningfork.feedback.judging import Answer, Outcome, Refused, judge, pass_over, undo
from tuningfork.feedback.security import Account
from tuningfork.feedback.service import Body, Service, read_body, signed_in
from tuningfork.feedback.view import piece, present, present_judgement, text_of

_PACE_OVER = 20


def storable(text: str) -> str:
    """Text that any database takes: PostgreSQL has no NUL."""
    return text.replace("\0", "�")


Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{8,64}$")]
Place = Annotated[int, Field(ge=0, lt=100)]
ShortText = Annotated[str, Field(max_length=4_000), AfterValidator(storable)]
LongText = Annotated[str, Field(max_length=100_000), AfterValidator(storable)]
Client = Annotated[
    dict[Annotated[str, Field(max_length=40)], bool | float | Annotated[str, Field(max_length=300)]],
    Field(max_length=20),
]


class JudgeBody(Body):
    """A judgement of the item on the screen."""

    id: Id
    assignment: Id
    ranking: list[list[Place]] = Field(max_length=100)
    """places on the screen, best first; those in one list are tied"""
    all_bad: bool = False
    strength: Annotated[int, Field(ge=0, le=3)] = 0
    """1 slightly, 2 clearly, 3 strongly; 0 for a tie"""
    ratings: list[dict[str, float]] = Field(default_factory=list, max_length=100)
    """for each place, a number for each criterion that was rated"""
    note: ShortText = ""
    edit: LongText | None = None
    """a better answer"""
    seconds: Annotated[float, Field(ge=0, le=1e6)] | None = None
    """time with the page in front"""
    client: Client = Field(default_factory=dict)

    @field_validator("edit")
    @classmethod
    def _no_blank_edit(cls, edit: str | None) -> str | None:
        return edit if edit and edit.strip() else None


class PassBody(Body):
    """An item that is passed over."""

    id: Id
    assignment: Id
    reason: ShortText = ""


class UndoBody(Body):
    """The latest action is taken back."""

    id: Id


class RenewBody(Body):
    """The page with this item is open."""

    assignment: Id


@signed_in
async def me(service: Service, account: Account, request: Request) -> dict[str, Any]:
    """Who is signed in, and what the project asks."""
    project = service.settings.model_dump(
        mode="json", include={"title", "guidelines", "criteria", "asks_strength", "asks_edit"}
    )
    progress = await run_in_threadpool(progress_of, service, account.name)
    can_talk = service.sampler is not None
    return {
        "annotator": account.name,
        "is_lead": account.is_lead,
        "can_talk": can_talk,
        "project": project,
        "progress": progress,
    }


@signed_in
async def next_item(service: Service, account: Account, request: Request) -> dict[str, Any]:
    """The item on the annotator's screen, or a new one."""
    return await run_in_threadpool(_next, service, account)


@signed_in
async def judge_item(service: Service, account: Account, request: Request) -> dict[str, Any]:
    """Keep a judgement and give the next item."""
    body = await read_body(request, JudgeBody)
    answer = Answer(**body.model_dump(mode="json"))
    _check_ratings(service, answer)

    def work() -> dict[str, Any]:
        return _next(service, account, judge(service.database, account.name, answer))

    return await run_in_threadpool(work)


@signed_in
async def skip_item(service: Service, account: Account, request: Request) -> dict[str, Any]:
    """Pass an item over and give the next one."""
    return await _pass(service, account, request, "skipped")


@signed_in
async def flag_item(service: Service, account: Account, request: Request) -> dict[str, Any]:
    """Say that something is wrong with an item, and give the next one."""
    return await _pass(service, account, request, "flagged")


@signed_in
async def undo_last(service: Service, account: Account, request: Request) -> dict[str, Any]:
    """Put the latest item on the screen again."""
    body = await read_body(request, UndoBody)

    def work() -> dict[str, Any]:
        undone = undo(service.database, service.settings, account.name, body.id)
        judgement = present_judgement(undone.judgement) if undone and undone.judgement else None
        return _next(service, account, "saved") | {"judgement": judgement}

    return await run_in_threadpool(work)


@signed_in
async def renew_lease(service: Service, account: Account, request: Request) -> dict[str, Any]:
    """Keep the item: its page is open."""
    body = await read_body(request, RenewBody)

    def work() -> None:
        assignments = schema.assignments.c
        with service.database.write() as connection:
            is_mine = select(assignments.id).where(
                assignments.id == body.assignment, assignments.annotator == account.name
            )
            if connection.scalar(is_mine) is None:
                raise Refused("there is no such item on your screen", status=404)
            renew(connection, body.assignment, service.database.now() + service.settings.lease_seconds)

    await run_in_threadpool(work)
    return {}


@signed_in
async def more_text(service: Service, account: Account, request: Request) -> dict[str, Any]:
    """A further piece of a long text of an item that was given to the annotator."""
    query = request.query_params
    part, index, start = query.get("part", ""), query.get("index", ""), query.get("start", "")
    if part not in ("prompt", "answers") or not (index.isdigit() and start.isdigit()) or len(index + start) > 15:
        raise Refused("part, index and start say which text", status=422)

    def work() -> dict[str, Any]:
        text = text_of(_given(service, account, query.get("assignment", "")), part, int(index))
        if text is None:
            raise Refused("there is no such text", status=404)
        return piece(text, int(start))

    return await run_in_threadpool(work)


ROUTES = [
    Route("/api/me", me),
    Route("/api/next", next_item),
    Route("/api/text", more_text),
    Route("/api/judge", judge_item, methods=["POST"]),
    Route("/api/skip", skip_item, methods=["POST"]),
    Route("/api/flag", flag_item, methods=["POST"]),
    Route("/api/undo", undo_last, methods=["POST"]),
    Route("/api/renew", renew_lease, methods=["POST"]),
]


async def _pass(service: Service, account: Account, request: Request, kind: Any) -> dict[str, Any]:
    body = await read_body(request, PassBody)

    def work() -> dict[str, Any]:
        outcome = pass_over(service.database, account.name, body.id, body.assignment, kind, body.reason)
        return _next(service, account, outcome)

    return await run_in_threadpool(work)


def _next(service: Service, account: Account, outcome: Outcome | None = None) -> dict[str, Any]:
    assigned = next_assignment(service.database, service.settings, account.name)
    answer = {"item": present(assigned) if assigned else None, "progress": progress_of(service, account.name)}
    return answer | ({"outcome": outcome} if outcome else {})


def progress_of(service: Service, annotator: str) -> dict[str, Any]:
    """`mine` judgements, `left` wanted of all, `pace`: the median of seconds over the latest ones, and whether more are drawn."""
    judgements, withdrawals = schema.judgements.c, schema.withdrawals.c
    with service.database.read() as connection:
        mine = connection.scalar(select(func.count()).where(judgements.annotator == annotator)) or 0
        taken_back = connection.scalar(
            select(func.count()).where(
                judgements.annotator == annotator, exists().where(withdrawals.judgement == judgements.id)
            )
        )
        seconds = connection.scalars(
            select(judgements.seconds)
            .where(judgements.annotator == annotator, judgements.seconds.is_not(None))
            .order_by(judgements.at.desc())
            .limit(_PACE_OVER)
        ).all()
    counts = service.counts()
    pace = round(statistics.median(seconds), 1) if seconds else None
    return {
        "mine": mine - (taken_back or 0),
        "judged": counts.judged,
        "wanted": counts.wanted,
        "left": counts.left,
        "pace": pace,
        "is_drawing": service.supply is not None and not service.supply.is_done,
        "fault": service.supply.fault if service.supply is not None else "",
    }


def _given(service: Service, account: Account, assignment: str) -> Assigned:
    """An item that is or was on the annotator's screen; Refused for another."""
    assignments, items = schema.assignments, schema.items
    with service.database.read() as connection:
        row = (
            connection.execute(
                select(assignments).where(assignments.c.id == assignment, assignments.c.annotator == account.name)
            )
            .mappings()
            .one_or_none()
        )
        if row is None:
            raise Refused("there is no such item on your screen", status=404)
        item = connection.execute(select(items).where(items.c.number == row["item"])).mappings().one()
    return Assigned(row["id"], row["purpose"], row["shown"], item)


def _check_ratings(service: Service, answer: Answer) -> None:
    """Refused for a rating of something that is not asked, or off its scale."""
    scales = {criterion.name: criterion for criterion in service.settings.criteria}
    for rated in answer.ratings:
        for name, value in rated.items():
            scale = scales.get(name)
            if scale is None or not scale.lowest <= value <= scale.highest:
                raise Refused(f"ratings: {name!r} is not asked, or {value:g} is off its scale", status=422)
