"""Six annotators at once while the server is killed again and again: nothing acknowledged is lost, nothing counts twice."""

from __future__ import annotations

import http.client
import json
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from tuningfork.data.judgements import Candidate
from tuningfork.feedback import schema
from tuningfork.feedback.database import Database
from tuningfork.feedback.export import judgements
from tuningfork.feedback.items import NewItem, add_items
from tuningfork.feedback.links import make_links
from tuningfork.feedback.project import ProjectSettings, write_project

PEOPLE = ("anna", "ben", "cleo", "dora", "emil", "fay")
SETTINGS = ProjectSettings(overlap_share=0.25, repeat_share=0.02, gold_share=0)
TOTAL = int(os.environ.get("TUNINGFORK_KILL_JUDGEMENTS", "5000"))
ON_POSTGRESQL = int(os.environ.get("TUNINGFORK_KILL_JUDGEMENTS", "2000"))

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("kills")]


class Annotator(threading.Thread):
    """Judges until nothing is left. Sends an action again, with its id, until there is an answer."""

    def __init__(self, name: str, port: int, token: str) -> None:
        super().__init__(daemon=True)
        self.name, self.port, self.token = name, port, token
        self.random = random.Random(name)
        self.connection: http.client.HTTPConnection | None = None
        self.cookie = ""
        self.said: dict[str, list[list[int]]] = {}
        """acknowledged and not undone: id -> ranking of places"""
        self.order: list[str] = []
        self.lost_answers = 0
        self.fault: BaseException | None = None

    def run(self) -> None:
        try:
            self._work()
        except BaseException as error:
            self.fault = error

    def _work(self) -> None:
        item = self.ask("GET", "/api/next")["item"]
        while item is not None:
            draw = self.random.random()
            if draw < 0.02 and self.order:
                self.ask("POST", "/api/undo", {"id": uuid.uuid4().hex})
                self.said.pop(self.order.pop())
                item = self.ask("GET", "/api/next")["item"]
                continue
            best = self.random.randrange(2)
            body = {"id": uuid.uuid4().hex, "assignment": item["assignment"], "ranking": [[best], [1 - best]]}
            answer = self.ask("POST", "/api/judge", body)
            assert answer["outcome"] in ("saved", "already"), answer
            self.said[body["id"]] = body["ranking"]
            self.order.append(body["id"])
            item = answer["item"]

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """The answer to a request, asked for as often as needed."""
        while True:
            try:
                if not self.cookie:
                    self._enter()
                status, text = self._send(method, path, body)
            except (OSError, http.client.HTTPException):
                self.lost_answers += self.connection is not None
                self.connection = None
                time.sleep(0.05)
                continue
            if status == 200:
                return json.loads(text)
            assert status == 503, (status, text)

    def _enter(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("GET", f"/?token={self.token}")
        answer = connection.getresponse()
        assert answer.status == 303, answer.status
        self.cookie = str(answer.getheader("set-cookie")).partition(";")[0]

    def _send(self, method: str, path: str, body: dict[str, Any] | None) -> tuple[int, bytes]:
        if self.connection is None:
            self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = {"cookie": self.cookie, "origin": f"http://127.0.0.1:{self.port}", "content-type": "application/json"}
        self.connection.request(method, path, json.dumps(body) if body else None, headers)
        answer = self.connection.getresponse()
        return answer.status, answer.read()


def run_with_kills(where: str, folder: Path, *, wanted: int, kills: int) -> tuple[Database, list[Annotator]]:
    """Fill the database, let everybody judge everything, and kill the server `kills` times meanwhile."""
    database = Database.open(where)
    write_project(database, SETTINGS)
    answers = [Candidate(text="first"), Candidate(text="second")]
    number = round(wanted / (1 + SETTINGS.overlap_share))
    add_items(database, [NewItem(f"item {n}", f"root {n}", "which?", answers) for n in range(number)], SETTINGS)
    links = Path("label.links") if "://" in where else Path(f"{where}.links")
    tokens = make_links(database, folder / links, "lead", PEOPLE)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "tuningfork.cli", "label", "--db", where, "--port", str(port), "--no-browser"]
    command += ["--rate", "100000", "--annotators", ",".join(PEOPLE)]
    people = [Annotator(name, port, tokens[name]) for name in PEOPLE]
    draws = random.Random(7)
    server = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    for person in people:
        person.start()
    try:
        for kill in range(1, kills + 1):
            goal = wanted * kill / (kills + 1) + draws.uniform(-0.05, 0.05) * wanted
            while sum(len(person.said) for person in people) < goal and any(p.is_alive() for p in people):
                time.sleep(draws.uniform(0, 0.02))
            server.send_signal(signal.SIGKILL)
            server.wait()
            server = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
        for person in people:
            person.join(timeout=600)
    finally:
        server.kill()
        server.wait()
    for person in people:
        assert person.fault is None, person.fault
        assert not person.is_alive(), f"{person.name} never came to an end"
    return database, people


def check(database: Database, people: list[Annotator]) -> None:
    """No acknowledged judgement lost, none twice, no item asked of too many, nothing left over."""
    stored = list(judgements(database, everything=True))
    acknowledged = {name: (person.name, ranking) for person in people for name, ranking in person.said.items()}
    assert {judgement.id for judgement in stored} == acknowledged.keys()
    for judgement in stored:
        name, places = acknowledged[judgement.id]
        assert judgement.rater.id == name
        assert judgement.ranking == [[judgement.shown[place] for place in group] for group in places]
    with database.read() as connection:
        rows = connection.execute(select(schema.items.c.name, schema.items.c.wanted)).all()
        left = connection.scalar(select(func.sum(schema.items.c.open_slots)))
    counts, pairs = Counter(), Counter()
    for judgement in judgements(database):
        counts[judgement.item] += 1
        pairs[judgement.item, judgement.rater.id] += 1
    assert counts == {row[0]: row[1] for row in rows} and left == 0
    assert set(pairs.values()) == {1}, "nobody judged an item twice"
    assert sum(person.lost_answers for person in people) > 0, "the kills were felt"


def test_sqlite_keeps_everything(tmp_path: Path) -> None:
    started = time.monotonic()
    database, people = run_with_kills(str(tmp_path / "labels.db"), tmp_path, wanted=TOTAL, kills=6)
    print(f"sqlite: {sum(len(p.said) for p in people):,} judgements in {time.monotonic() - started:.0f} s")
    check(database, people)
    database.close()


@pytest.fixture(scope="module")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a PostgreSQL server of the test's own; skips where none is installed."""
    pytest.importorskip("psycopg", reason="psycopg is not installed; pip install 'psycopg[binary]'")
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if found := shutil.which("initdb"):
        programs.append(Path(found).resolve().parent)
    if not programs:
        pytest.skip("PostgreSQL is not installed; apt-get install postgresql")
    folder = tmp_path_factory.mktemp("postgresql")
    owner: dict[str, Any] = {}
    if os.geteuid() == 0:
        try:
            owner = {"user": "postgres", "group": pwd.getpwnam("postgres").pw_gid}
        except KeyError:
            pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
        place = Path("/tmp") / f"tuningfork-postgresql-{uuid.uuid4().hex[:8]}"
        place.mkdir()
        shutil.chown(place, "postgres")
        folder = place
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    bin_ = programs[-1]
    data = folder / "data"
    subprocess.run(
        [bin_ / "initdb", "-D", data, "-U", "tester", "-A", "trust"], check=True, capture_output=True, **owner
    )
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder}"
    start = [bin_ / "pg_ctl", "-D", data, "-o", options, "-w", "-l", folder / "log", "start"]
    subprocess.run(start, check=True, stdout=subprocess.DEVNULL, **owner)
    yield f"postgresql://tester@127.0.0.1:{port}/postgres"
    subprocess.run([bin_ / "pg_ctl", "-D", data, "-m", "immediate", "stop"], check=True, capture_output=True, **owner)
    shutil.rmtree(folder)


def test_postgresql_keeps_everything(postgresql: str, tmp_path: Path) -> None:
    started = time.monotonic()
    database, people = run_with_kills(postgresql, tmp_path, wanted=ON_POSTGRESQL, kills=3)
    print(f"postgresql: {sum(len(p.said) for p in people):,} judgements in {time.monotonic() - started:.0f} s")
    check(database, people)
    database.close()
