"""From labels to the next policy: "Train now" exports what was judged, runs a recipe on it, and goes on with the new model.

GET  /rounds/<n>/report   the report of a round's run
POST /api/train           start the next round
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import func, select
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from tuningfork.feedback import schema
from tuningfork.feedback.api import Id
from tuningfork.feedback.database import Database
from tuningfork.feedback.export import export
from tuningfork.feedback.items import count
from tuningfork.feedback.judging import Refused
from tuningfork.feedback.security import Account
from tuningfork.feedback.service import Body, Service, for_leads, read_body

_REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'"
_MESSAGE = 300


class Rounds:
    """Trains in a child process, one round at a time, each in a folder below `folder`.

    `model` is what the next round starts from; `learnt(run)` is called with the run of a finished round and gives the model
    of the next.
    """

    def __init__(
        self,
        database: Database,
        folder: Path,
        recipe: str,
        model: str,
        learnt: Callable[[Path, int], str],
        *,
        minimum: int = 20,
    ) -> None:
        self.database, self.folder, self.recipe, self.model = database, folder, recipe, model
        self.minimum, self._learnt = minimum, learnt
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._end_lost_rounds()

    def describe(self) -> dict[str, Any]:
        """Rounds so far, and whether another can begin."""
        counts = count(self.database)
        new = counts.judged + counts.talked - self._used()
        rounds = [self._shown(row) for row in self._rows()]
        ready = new >= self.minimum and not any(round_["state"] == "running" for round_ in rounds)
        says = (
            f"{new:,} judgements since the last round; {self.minimum} are needed."
            if rounds or new < self.minimum
            else (f"{new:,} judgements to train on.")
        )
        return {"rounds": rounds, "ready": ready, "says": says}

    def start(self) -> None:
        """Export and train. Refused while a round is running, or before there are enough judgements."""
        with self._lock:
            if not self.describe()["ready"]:
                raise Refused(self.describe()["says"])
            number = 1 + max((row["number"] for row in self._rows()), default=0)
            place = self.folder / f"round-{number}"
            counts = export(self.database, place / "data")["counts"]
            row = {"number": number, "started_at": self.database.now(), "state": "running", "run": str(place / "run")}
            with self.database.write() as connection:
                connection.execute(schema.rounds.insert().values(**row, num_judgements=counts.get("judgements", 0)))
            command = [sys.executable, "-m", "tuningfork.cli", "run", self.recipe, "--out", str(place / "run")]
            command += [f"model={Path(self.model).resolve()}", f"data={(place / 'data').resolve()}"]
            with (place / "train.log").open("wb") as log:
                self._process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=os.environ | {"NO_COLOR": "1"}
                )
        threading.Thread(target=self._follow, args=(number, place, self._process), daemon=True).start()

    def stop(self) -> None:
        """End a round that is running; `tuningfork run` would resume it."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait()

    def report(self, number: int) -> Path | None:
        """The report of a round, where there is one."""
        found = [Path(row["run"]) / "report.html" for row in self._rows() if row["number"] == number]
        return found[0] if found and found[0].is_file() else None

    def _follow(self, number: int, place: Path, process: subprocess.Popen[bytes]) -> None:
        code = process.wait()
        message = _result(place / "train.log")
        if (place / "run" / "recipe.yaml").is_file() and not (place / "run" / "report.html").is_file():
            render = [
                sys.executable,
                "-m",
                "tuningfork.cli",
                "report",
                str(place / "run"),
            ]  # of a run without a verdict
            subprocess.run(render, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=False)
        if code == 0:
            self.model = self._learnt(place / "run", number)
        self._end(number, "complete" if code == 0 else "failed", message)

    def _end(self, number: int, state: str, message: str) -> None:
        rounds = schema.rounds
        with self.database.write() as connection:
            connection.execute(
                rounds.update()
                .where(rounds.c.number == number)
                .values(state=state, message=message[:_MESSAGE], ended_at=self.database.now())
            )

    def _end_lost_rounds(self) -> None:
        """Rounds whose server was killed are said to have failed; their runs can be resumed by hand."""
        for row in self._rows():
            if row["state"] == "running":
                self._end(row["number"], "failed", "the server ended while it was running")

    def _rows(self) -> list[Any]:
        with self.database.read() as connection:
            return list(connection.execute(select(schema.rounds).order_by(schema.rounds.c.number)).mappings())

    def _used(self) -> int:
        rounds = schema.rounds.c
        with self.database.read() as connection:
            return connection.scalar(select(func.max(rounds.num_judgements)).where(rounds.state == "complete")) or 0

    def _shown(self, row: Any) -> dict[str, Any]:
        return {name: row[name] for name in ("number", "state", "num_judgements", "message")} | {
            "has_report": (Path(row["run"]) / "report.html").is_file()
        }


class TrainBody(Body):
    """The next round is started."""

    id: Id


@for_leads
async def train(service: Service, account: Account, request: Request) -> dict[str, Any]:
    """Start the next round."""
    await read_body(request, TrainBody)
    if service.trainer is None:
        raise Refused("there is no model to train here", status=404)
    await run_in_threadpool(service.trainer.start)
    return {}


@for_leads
async def report(service: Service, account: Account, request: Request) -> Response:
    """The report of a round: a page of its own, which may run no script."""
    found = service.trainer.report(request.path_params["number"]) if service.trainer else None
    if found is None:
        raise Refused("this round has no report", status=404)
    return FileResponse(found, media_type="text/html", headers={"content-security-policy": _REPORT_POLICY})


ROUTES = [Route("/api/train", train, methods=["POST"]), Route("/rounds/{number:int}/report", report)]


def _result(log: Path) -> str:
    """What a run says at its end: its last gate where it came so far, else its last line, which is its error."""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    gates = [line for line in lines if line.startswith("gate ")]
    is_done = bool(lines) and lines[-1].startswith(("chat:", "complete:", "report:"))
    return (gates[-1] if gates and is_done else lines[-1]) if lines else ""
