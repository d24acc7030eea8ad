"""Quality over HTTP, for leads only. The server mounts `ROUTES`.

GET  /quality                     the page
GET  /api/quality                 its figures as JSON
POST /api/quality/exclude         {id, annotator, is_excluded, reason}: reversible, a new row each time
POST /api/quality/adjudicate      {item}: the item comes to the lead's own screen
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from pydantic import Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from tuningfork.evals.agreement_statistics import Agreement
from tuningfork.feedback.api import Id, ShortText
from tuningfork.feedback.exclusion import adjudicate, set_excluded
from tuningfork.feedback.quality import AnnotatorQuality, Quality, Share
from tuningfork.feedback.quality_page import quality_of, render_quality
from tuningfork.feedback.security import Account
from tuningfork.feedback.service import Body, Service, for_leads, read_body


class ExcludeBody(Body):
    """Whose judgements are left out, or taken in again."""

    id: Id
    annotator: str = Field(max_length=60)
    is_excluded: bool
    reason: ShortText = ""


class AdjudicateBody(Body):
    """An item that annotators disagree on."""

    item: str = Field(max_length=2000)


@for_leads
async def page(service: Service, account: Account, request: Request) -> Response:
    """The dashboard."""
    return HTMLResponse(await run_in_threadpool(render_quality, service.database))


@for_leads
async def figures(service: Service, account: Account, request: Request) -> dict[str, Any]:
    """The figures of the dashboard."""
    quality, excluded, _ = await run_in_threadpool(quality_of, service.database)
    return as_json(quality) | {"excluded": excluded}


@for_leads
async def exclude(service: Service, account: Account, request: Request) -> dict[str, Any]:
    """Leave an annotator out, or take the annotator in again."""
    body = await read_body(request, ExcludeBody)

    def work() -> bool:
        return set_excluded(
            service.database, body.annotator, body.is_excluded, by=account.name, reason=body.reason, action=body.id
        )

    return {"changed": await run_in_threadpool(work)}


@for_leads
async def decide(service: Service, account: Account, request: Request) -> dict[str, Any]:
    """Put an item on the lead's own screen."""
    body = await read_body(request, AdjudicateBody)
    await run_in_threadpool(adjudicate, service.database, service.settings, body.item, account.name)
    return {}


ROUTES = [
    Route("/quality", page),
    Route("/api/quality", figures),
    Route("/api/quality/exclude", exclude, methods=["POST"]),
    Route("/api/quality/adjudicate", decide, methods=["POST"]),
]


def as_json(quality: Quality) -> dict[str, Any]:
    """The quality of a project as JSON: a share is {value, hits, n, ci95}, an undefined number is null."""
    return {
        "judgements": quality.judgements,
        "items": quality.items,
        "overlapping": _share(quality.overlapping),
        "repeats": _share(quality.repeats),
        "gold": _share(quality.gold),
        "left": _share(quality.left),
        "agreement": [_agreement(one) for one in quality.agreement],
        "between": [{"annotators": list(names)} | _agreement(one) for names, one in quality.between.items()],
        "annotators": [_annotator(one) for one in quality.annotators],
        "disagreements": [
            {"item": one.item, "votes": [list(vote) for vote in one.votes], "leader": one.leader, "spread": one.spread}
            for one in quality.disagreements
        ],
    }


def _annotator(one: AnnotatorQuality) -> dict[str, Any]:
    shares = {name: _share(getattr(one, name)) for name in ("gold", "repeats", "agreement", "left", "ties")}
    return {
        "name": one.name,
        "kind": one.kind,
        "is_excluded": one.is_excluded,
        "judgements": one.judgements,
        "seconds": list(one.pace.quartiles) if one.pace else None,
        "alarms": [{"test": test.name, "text": test.text, "p": test.p_holm} for test in one.alarms],
        **shares,
    }


def _share(share: Share) -> dict[str, Any]:
    return {"value": share.value, "hits": share.hits, "n": share.n, "ci95": share.ci95}


def _agreement(agreement: Agreement) -> dict[str, Any]:
    row = dataclasses.asdict(agreement)
    return row | {"value": None if math.isnan(agreement.value) else agreement.value}
