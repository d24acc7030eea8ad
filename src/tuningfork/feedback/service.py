"""What the endpoints work with, and how they answer: the signed-in account, bodies checked against a model, errors as JSON."""

from __future__ import annotations

import functools
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError, OperationalError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from tuningfork.feedback import schema
from tuningfork.feedback.database import Database
from tuningfork.feedback.items import Counts, count
from tuningfork.feedback.judging import Refused
from tuningfork.feedback.project import ProjectSettings
from tuningfork.feedback.sampler import Sampler
from tuningfork.feedback.security import Account, account_of

_COUNTING_SHARE = 0.05

Endpoint = Callable[[Request], Awaitable[Response]]
BodyModel = TypeVar("BodyModel", bound="Body")


class Body(BaseModel):
    """What a request sends. Unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Trainer(Protocol):
    """What goes on from labels to a model."""

    def describe(self) -> dict[str, Any]: ...
    def start(self) -> None: ...
    def report(self, number: int) -> Path | None: ...


class Supply(Protocol):
    """What adds items while people judge."""

    fault: str

    @property
    def is_done(self) -> bool: ...


@dataclass
class Service:
    """A labelling project that is being served; `app.state.service` of the application."""

    database: Database
    settings: ProjectSettings
    sampler: Sampler | None = None
    """the model to talk with, where there is one"""
    trainer: Trainer | None = None
    """what "Train now" starts, where there is something to train"""
    supply: Supply | None = None
    """what draws more answers, where they are drawn while people judge"""
    cookie: str = field(init=False)
    """name of the cookie: each project has its own, since cookies know no ports"""
    _counts: tuple[float, Counts] | None = field(default=None, init=False)  # good until when

    def __post_init__(self) -> None:
        with self.database.read() as connection:
            project = connection.scalar(select(schema.project.c.value).where(schema.project.c.key == "id"))
        self.cookie = f"tuningfork-label-{project}"

    def counts(self) -> Counts:
        """How far the project is; of a large one a little old, so that counting takes at most a twentieth of the time."""
        if self._counts is None or time.monotonic() > self._counts[0]:
            started = time.monotonic()
            found = count(self.database)
            took = time.monotonic() - started
            self._counts = (time.monotonic() + (took / _COUNTING_SHARE if took > 0.01 else 0.0), found)
        return self._counts[1]


def service_of(request: Request) -> Service:
    """The service a request is for."""
    return request.app.state.service


def signed_in(work: Callable[[Service, Account, Request], Awaitable[Any]]) -> Endpoint:
    """An endpoint for those who came by a link. Its result is sent as JSON, `Refused` as its status and message."""
    return _endpoint(work, is_for_leads=False)


def for_leads(work: Callable[[Service, Account, Request], Awaitable[Any]]) -> Endpoint:
    """An endpoint for leads only."""
    return _endpoint(work, is_for_leads=True)


def _endpoint(work: Callable[[Service, Account, Request], Awaitable[Any]], *, is_for_leads: bool) -> Endpoint:
    @functools.wraps(work)
    async def endpoint(request: Request) -> Response:
        service = service_of(request)
        account = await run_in_threadpool(account_of, service.database, request.cookies.get(service.cookie, ""))
        if account is None:
            return JSONResponse({"error": "open the link that you were given"}, 401)
        if is_for_leads and not account.is_lead:
            return JSONResponse({"error": "only a lead may do that"}, 403)
        try:
            result = await work(service, account, request)
        except Refused as refused:
            return JSONResponse({"error": str(refused)}, refused.status)
        except IntegrityError:  # two windows at the same moment, and the other was first
            return JSONResponse({"error": "this happened in another window already"}, 409)
        except OperationalError:  # the database is away, or chose this one of two that waited for each other
            return JSONResponse({"error": "the database cannot be reached; trying again"}, 503)
        return result if isinstance(result, Response) else JSONResponse(result)

    return endpoint


async def read_body(request: Request, model: type[BodyModel]) -> BodyModel:
    """The body of a request as `model`; Refused with the first fault."""
    try:
        return model.model_validate_json(await request.body())
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise Refused(f"{place}: {first['msg']}" if place else str(first["msg"]), status=422) from error
