"""Simulated annotators over real HTTP: they see the page's texts alone, and their habits show in the figures."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest
import uvicorn
from sqlalchemy import select

from tuningfork.data.judgements import Candidate
from tuningfork.errors import RunError
from tuningfork.feedback import schema
from tuningfork.feedback.answers import read_answers
from tuningfork.feedback.database import Database
from tuningfork.feedback.items import NewItem, add_items
from tuningfork.feedback.project import ProjectSettings, write_project
from tuningfork.feedback.security import Limits, add_annotator, new_token
from tuningfork.feedback.server import build_app, server_config
from tuningfork.feedback.service import Service
from tuningfork.feedback.serving import listen
from tuningfork.feedback.simulated import Habits, HttpPage, SimulatedAnnotator, ranked


def longest(prompt: str, answers: Sequence[str], ended: Sequence[bool]) -> list[float]:
    """A taste: the more words the better; what does not end is worth nothing."""
    return [len(text.split()) * end for text, end in zip(answers, ended, strict=True)]


def wait_until(is_so: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.01)


@contextmanager
def served(database: Database, settings: ProjectSettings) -> Iterator[str]:
    """The address of a running server."""
    app = build_app(Service(database, settings), limits=Limits(requests=1e6, entries=1e6))
    listener = listen("127.0.0.1", 0)
    host, port = listener.getsockname()[:2]
    server = uvicorn.Server(server_config(app, host, port))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    wait_until(lambda: server.started)
    try:
        yield f"http://{host}:{port}"
    finally:
        server.should_exit = True
        thread.join(10)


def link_of(database: Database, address: str, name: str, role: str = schema.ANNOTATOR) -> str:
    token = new_token()
    add_annotator(database, name, token, role=role, kind="simulated")
    return f"{address}/?token={token}"


def worded(number: int, *, gold: bool = False) -> list[NewItem]:
    """Items whose first answer has three words and whose second has one, two or three."""
    name = "known" if gold else "item"
    return [
        NewItem(
            f"{name} {index}",
            f"root {index}",
            f"question {index}?",
            [Candidate(text="a b c"), Candidate(text=" ".join("xyz"[: 1 + index % (2 if gold else 3)]))],
            gold=[[0], [1]] if gold else None,
        )
        for index in range(number)
    ]


def test_an_attentive_annotator_answers_by_the_taste(database: Database) -> None:
    settings = ProjectSettings(overlap_share=0, repeat_share=0, gold_share=0)
    write_project(database, settings)
    add_items(database, worded(30), settings)
    with served(database, settings) as address:
        annotator = SimulatedAnnotator(
            HttpPage(link_of(database, address, "anna")), longest, Habits(asks_strength=True)
        )
        assert annotator.work(most=12) == 12
        assert annotator.work() == 30  # goes on where it was
    answers = read_answers(database)
    assert {answer.item for answer in answers} == {f"item {index}" for index in range(30)}
    for answer in answers:
        words = 1 + int(answer.item.split()[1]) % 3
        assert answer.best == ("tie" if words == 3 else 0)
        assert answer.strength == 3 - words
        assert answer.seconds is not None and 1 < answer.seconds < 60
    assert {answer.shown for answer in answers} == {(0, 1), (1, 0)}


def test_habits_show(database: Database) -> None:
    settings = ProjectSettings(raters=4, overlap_share=0, repeat_share=0.2, repeat_gap=3, gold_share=0.3)
    write_project(database, settings)
    add_items(database, [*worded(12), *worded(8, gold=True)], settings)
    habits = {
        "careful": Habits(),
        "noisy": Habits(flip_rate=0.5),
        "lefty": Habits(side_rate=1),
        "tired": Habits(tie_rate=1, skip_rate=0.2),
    }
    with served(database, settings) as address:
        pages = {name: HttpPage(link_of(database, address, name)) for name in habits}
        for name, page in pages.items():
            SimulatedAnnotator(page, longest, habits[name], name, seed=3).work()
    answers = read_answers(database)
    own = {name: [answer for answer in answers if answer.annotator == name] for name in habits}
    assert all(answer.place == 0 for answer in own["lefty"])
    assert all(answer.best == "tie" for answer in own["tired"])
    gold = {name: [a.is_right for a in rows if a.purpose == schema.GOLD] for name, rows in own.items()}
    assert len(gold["careful"]) >= 3 and all(gold["careful"])
    assert 0.1 < sum(a.best == 0 for a in own["noisy"]) / sum(a.best != "tie" for a in own["noisy"]) < 0.9
    assert any(answer.purpose == schema.REPEAT for answer in own["careful"])
    with database.read() as connection:
        skipped = connection.scalars(select(schema.events.c.annotator).where(schema.events.c.kind == "skipped")).all()
    assert set(skipped) == {"tired"}


def test_the_rest_of_a_long_text_is_read(database: Database) -> None:
    settings = ProjectSettings(overlap_share=0, repeat_share=0, gold_share=0)
    write_project(database, settings)
    long, longer = "word " * 6000, "word " * 6001
    add_items(database, [NewItem("long", "r", "?", [Candidate(text=long), Candidate(text=longer)])], settings)
    with served(database, settings) as address:
        SimulatedAnnotator(HttpPage(link_of(database, address, "anna")), longest).work()
    assert [answer.best for answer in read_answers(database)] == [1]


def test_a_wrong_link_and_a_closed_server_are_said(database: Database) -> None:
    settings = ProjectSettings()
    write_project(database, settings)
    with served(database, settings) as address, pytest.raises(RunError, match="not let in"):
        HttpPage(f"{address}/?token=wrong")
    with pytest.raises(RunError, match="does not answer"):
        HttpPage(f"{address}/?token=wrong")


def test_ranked() -> None:
    assert ranked([0.0, 2.0, 0.0, 1.0]) == [[1], [3], [0, 2]]
