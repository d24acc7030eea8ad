"""Talks with the model: each turn it offers replies, the annotator chooses one, and the talk goes on from there.

A turn is an item of the task `chat`, assigned at once to the annotator who wrote it; its judgement is like any other.

GET  /api/talk       {conversation, turns, item | null}: the annotator's latest talk
POST /api/talk/say   the same, after the model has answered
POST /api/talk/new   the same, empty
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, StringConstraints
from sqlalchemy import Connection, RowMapping, exists, select
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.routing import Route

from tuningfork.data.dialogue import tagged_text
from tuningfork.errors import ModelError
from tuningfork.feedback import schema
from tuningfork.feedback.api import Id, LongText
from tuningfork.feedback.assigning import Assigned, assign, lock_annotator, record
from tuningfork.feedback.items import NewItem, item_row
from tuningfork.feedback.judging import Refused
from tuningfork.feedback.security import Account
from tuningfork.feedback.service import Body, Service, read_body, signed_in
from tuningfork.feedback.view import present

_MOST_TURNS = 200


class SayBody(Body):
    """What the person says as turn `turn` (from 0, counting both sides) of a talk; the first begins it."""

    id: Id
    conversation: Id | None
    turn: Annotated[int, Field(ge=0, lt=_MOST_TURNS)]
    text: Annotated[LongText, StringConstraints(min_length=1)]


class NewBody(Body):
    """A new talk is begun."""

    id: Id


@dataclass(frozen=True)
class Talk:
    """A talk as far as it is decided, and the replies that wait for a choice."""

    conversation: str | None
    messages: list[dict[str, Any]]
    waiting: Assigned | None

    def shown(self) -> dict[str, Any]:
        """As JSON for the page."""
        return {
            "conversation": self.conversation,
            "turns": [{"role": message["role"], "text": message["content"]} for message in self.messages],
            "item": present(self.waiting) if self.waiting else None,
        }


@signed_in
async def talk(service: Service, account: Account, request: Request) -> dict[str, Any]:
    """The annotator's latest talk."""
    return (await run_in_threadpool(_latest, service, account.name)).shown()


@signed_in
async def new_talk(service: Service, account: Account, request: Request) -> dict[str, Any]:
    """Leave the talk and begin another."""
    await read_body(request, NewBody)
    return (await run_in_threadpool(_begin, service, account.name)).shown()


@signed_in
async def say(service: Service, account: Account, request: Request) -> dict[str, Any]:
    """Say something; the model answers with replies to choose from."""
    body = await read_body(request, SayBody)
    return (await run_in_threadpool(_say, service, account.name, body)).shown()


ROUTES = [
    Route("/api/talk", talk),
    Route("/api/talk/say", say, methods=["POST"]),
    Route("/api/talk/new", new_talk, methods=["POST"]),
]


def _say(service: Service, annotator: str, body: SayBody) -> Talk:
    if service.sampler is None:
        raise Refused("there is no model to talk with here", status=404)
    current = _latest(service, annotator)
    ending = service.sampler.prompt_ending
    if current.waiting is not None:
        return current  # said already: the answer was lost on its way
    if current.conversation is None or body.conversation is None or (ending is not None and current.messages):
        current = _begin(service, annotator)
    elif body.conversation != current.conversation:
        raise Refused("this talk is not the latest any more")
    turn = len(current.messages)
    if ending is None and body.turn < turn:
        return current
    assert current.conversation is not None
    messages = [*current.messages, {"role": "user", "content": body.text}]
    name = f"talk/{current.conversation}/{turn}"
    prompt = tagged_text(messages, is_open=True) if ending is None else body.text + ending
    row = {"id": name} | ({"messages": messages} if ending is None else {"prompt": prompt})
    try:
        (drawn,) = service.sampler.draw([row])
    except ModelError as error:
        raise Refused(str(error), status=422) from error
    item = NewItem(
        name=name,
        root=f"talk/{current.conversation}",
        prompt=prompt,
        messages=messages if ending is None else None,
        prompt_ids=drawn.prompt_ids,
        candidates=[candidate.model_copy(update={"text": candidate.text.strip()}) for candidate in drawn.candidates],
        source="talk",
    )
    _keep(service, annotator, item, current.conversation, turn)
    return _latest(service, annotator)


def _keep(service: Service, annotator: str, item: NewItem, conversation: str, turn: int) -> None:
    """Store a turn and put it on the annotator's screen; a turn that is there already stays."""
    now = service.database.now()
    values = item_row(item, service.settings, now) | {
        "task": schema.CHAT,
        "wanted": 0,
        "open_slots": 0,
        "conversation": conversation,
        "turn": turn,
    }
    items = schema.items
    with service.database.write() as connection:
        lock_annotator(connection, annotator)
        is_there = select(items.c.number).where(items.c.conversation == conversation, items.c.turn == turn)
        if connection.scalar(is_there) is not None:
            return
        number = connection.execute(items.insert().returning(items.c.number), values).scalar_one()
        if len(item.candidates) > 1:
            assign(connection, service.settings, annotator, number, schema.TALK, now)


def _begin(service: Service, annotator: str) -> Talk:
    """A new talk; the latest one where nothing was said in it yet."""
    latest = _latest(service, annotator)
    if latest.conversation is not None and not latest.messages and latest.waiting is None:
        return latest
    conversation, now = uuid.uuid4().hex, service.database.now()
    with service.database.write() as connection:
        connection.execute(schema.conversations.insert().values(id=conversation, annotator=annotator, started_at=now))
        record(connection, "talk begun", now, annotator, details={"conversation": conversation})
    return Talk(conversation, [], None)


def _latest(service: Service, annotator: str) -> Talk:
    """The annotator's latest talk, put together from its turns and what was chosen."""
    conversations, items = schema.conversations, schema.items
    with service.database.read() as connection:
        conversation = connection.scalar(
            select(conversations.c.id)
            .where(conversations.c.annotator == annotator)
            .order_by(conversations.c.started_at.desc())
            .limit(1)
        )
        if conversation is None:
            return Talk(None, [], None)
        last = select(items).where(items.c.conversation == conversation).order_by(items.c.turn.desc()).limit(1)
        item = connection.execute(last).mappings().one_or_none()
        if item is None:
            return Talk(conversation, [], None)
        messages = item["messages"] or [{"role": "user", "content": item["prompt"].rstrip()}]
        reply = _reply(connection, item)
        if reply is not None:
            return Talk(conversation, [*messages, {"role": "assistant", "content": reply}], None)
        row = (
            connection.execute(select(schema.assignments).where(schema.assignments.c.item == item["number"]))
            .mappings()
            .one()
        )
        return Talk(conversation, messages, Assigned(row["id"], row["purpose"], row["shown"], item))


def _reply(connection: Connection, item: RowMapping) -> str | None:
    """What the talk goes on with: the written answer, the chosen one, the first of equals; None before the choice."""
    candidates = item["candidates"]
    if len(candidates) == 1:
        return candidates[0]["text"]
    judgements, withdrawals = schema.judgements, schema.withdrawals
    row = select(judgements).where(
        judgements.c.item == item["number"], ~exists().where(withdrawals.c.judgement == judgements.c.id)
    )
    judgement = connection.execute(row).mappings().one_or_none()
    if judgement is None:
        return None
    return judgement["edit"] or candidates[judgement["ranking"][0][0]]["text"]
