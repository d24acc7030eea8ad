"""A labelling project in a temporary database, and people who work on it over HTTP, in this process."""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from tuningfork.feedback.database import Database
from tuningfork.feedback.items import NewItem, add_items
from tuningfork.feedback.project import ProjectSettings, write_project
from tuningfork.feedback.security import Limits, add_annotator, new_token
from tuningfork.feedback.server import build_app
from tuningfork.feedback.service import Service

sys.path.insert(0, str(Path(__file__).parent))  # for `planted` and others shared by these tests

PLAIN = ProjectSettings(overlap_share=0, repeat_share=0, gold_share=0)
ORIGIN = {"origin": "http://localhost", "content-type": "application/json"}


class Clock:
    """A time that goes on when it is told to."""

    def __init__(self) -> None:
        self.time = 1_000_000.0

    def __call__(self) -> float:
        self.time += 0.001
        return self.time


class Person:
    """Somebody at a page. Judges by places on the screen, as the page does."""

    def __init__(self, client: TestClient, name: str) -> None:
        self.client, self.name = client, name

    def get(self, path: str, **query: Any) -> Any:
        return self.client.get(path, params=query).json()

    def post(self, path: str, **body: Any) -> Any:
        answer = self.client.post(path, content=json.dumps(body), headers=ORIGIN)
        return answer.json() | {"status": answer.status_code}

    def next(self) -> dict[str, Any]:
        return self.get("/api/next")["item"]

    def judge(self, item: dict[str, Any], ranking: list[list[int]] | None = None, **more: Any) -> Any:
        body = {"id": uuid.uuid4().hex, "assignment": item["assignment"], "ranking": ranking or [[0], [1]]} | more
        return self.post("/api/judge", **body)

    def skip(self, item: dict[str, Any], how: str = "skip", **more: Any) -> Any:
        return self.post(f"/api/{how}", **({"id": uuid.uuid4().hex, "assignment": item["assignment"]} | more))

    def undo(self, **more: Any) -> Any:
        return self.post("/api/undo", **({"id": uuid.uuid4().hex} | more))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def database(tmp_path: Path, clock: Clock) -> Iterator[Database]:
    opened = Database.open(tmp_path / "labels.db", now=clock)
    yield opened
    opened.close()


@pytest.fixture
def clients() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def project(database: Database, clients: ExitStack) -> Callable[..., Callable[[str], Person]]:
    """`project(items, settings)` fills the database and gives `person(name)`, who is signed in."""

    def make(
        items: list[NewItem], settings: ProjectSettings = PLAIN, limits: Limits | None = None, **more: Any
    ) -> Callable[[str], Person]:
        write_project(database, settings)
        add_items(database, items, settings)
        service = Service(database, settings, **more)
        app = build_app(service, limits=limits or Limits(requests=1e6, entries=1e6))

        def person(name: str, role: str = "annotator") -> Person:
            token = new_token()
            add_annotator(database, name, token, role=role)
            client = clients.enter_context(TestClient(app, base_url="http://localhost"))
            assert client.get("/", params={"token": token}).status_code == 200
            return Person(client, name)

        return person

    return make
