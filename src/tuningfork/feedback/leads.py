"""What is open to leads: how far the project is, exports and backups at any time.

GET /api/project          counts, annotators, whether there is a model to train
GET /api/export           judgements as JSON Lines
GET /api/demonstrations   better answers that were written, as JSON Lines
GET /api/backup           a copy of the SQLite database
"""

from __future__ import annotations

import json
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import exists, func, select
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import Route

from tuningfork.feedback import schema
from tuningfork.feedback.export import demonstrations, judgements, row_of
from tuningfork.feedback.items import count
from tuningfork.feedback.security import Account
from tuningfork.feedback.service import Service, for_leads

_PACE_OVER = 200


@for_leads
async def project(service: Service, account: Account, request: Request) -> dict[str, Any]:
    """How far the project is, and who did how much."""
    return await run_in_threadpool(_project, service)


@for_leads
async def export(service: Service, account: Account, request: Request) -> Response:
    """Judgements to train on; with `?everything=1` also repeats, known answers and excluded annotators."""
    everything = request.query_params.get("everything") == "1"
    found = (row_of(judgement) for judgement in judgements(service.database, everything=everything))
    return _lines(found, "judgements.jsonl")


@for_leads
async def export_demonstrations(service: Service, account: Account, request: Request) -> Response:
    """Better answers that were written."""
    return _lines(demonstrations(service.database), "demonstrations.jsonl")


@for_leads
async def backup(service: Service, account: Account, request: Request) -> Response:
    """A copy of the database as it is now."""
    folder = tempfile.TemporaryDirectory(prefix="tuningfork-backup-")
    copy = Path(folder.name) / "labels-backup.db"
    await run_in_threadpool(service.database.backup, copy)
    return FileResponse(copy, filename=copy.name, background=BackgroundTask(folder.cleanup))


ROUTES = [
    Route("/api/project", project),
    Route("/api/export", export),
    Route("/api/demonstrations", export_demonstrations),
    Route("/api/backup", backup),
]


def _project(service: Service) -> dict[str, Any]:
    counts = count(service.database)
    given, withdrawals = schema.judgements.c, schema.withdrawals.c
    with service.database.read() as connection:
        rows = connection.execute(
            select(given.annotator, func.count())
            .where(~exists().where(withdrawals.judgement == given.id))
            .group_by(given.annotator)
            .order_by(given.annotator)
        ).all()
        latest = connection.execute(
            select(given.annotator, given.seconds)
            .where(given.seconds.is_not(None))
            .order_by(given.number.desc())
            .limit(_PACE_OVER)
        ).all()
    seconds: dict[str, list[float]] = defaultdict(list)
    for name, taken in latest:
        seconds[name].append(taken)
    paces = {name: round(statistics.median(values), 1) for name, values in seconds.items()}
    return {
        "wanted": counts.wanted,
        "judged": counts.judged,
        "talked": counts.talked,
        "annotators": [{"name": n, "judgements": number, "pace": paces.get(n)} for n, number in rows],
        "has_backup": service.database.is_sqlite,
        "quality": "quality",
        "training": service.trainer.describe() if service.trainer else None,
    }


def _lines(rows: Iterable[dict[str, Any]], name: str) -> Response:
    def lines() -> Iterator[str]:
        for row in rows:
            yield json.dumps(row, ensure_ascii=False) + "\n"

    headers = {"content-disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(lines(), media_type="application/x-ndjson", headers=headers)
