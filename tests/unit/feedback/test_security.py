"""Attacks on the labelling server: refused or harmless."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from starlette.testclient import TestClient

from tuningfork.data.judgements import Candidate
from tuningfork.feedback import schema
from tuningfork.feedback.database import Database
from tuningfork.feedback.items import NewItem
from tuningfork.feedback.links import make_links
from tuningfork.feedback.project import ProjectSettings
from tuningfork.feedback.security import Limits, Rate, add_annotator, hash_token, new_token
from tuningfork.feedback.server import build_app
from tuningfork.feedback.service import Service

PLAIN = ProjectSettings(overlap_share=0, repeat_share=0, gold_share=0)
SCRIPT = "<script>alert(1)</script><img src=x onerror=alert(2)>"
ITEM = NewItem("one", "root", "which?", [Candidate(text="a"), Candidate(text="b")])


@pytest.fixture
def anna(project: Any) -> Any:
    return project([ITEM, NewItem("two", "root", "and?", [Candidate(text="c"), Candidate(text="d")])])("anna")


def stranger(database: Database, **more: Any) -> TestClient:
    return TestClient(build_app(Service(database, PLAIN), **more), base_url="http://localhost")


def test_without_a_link_nothing_is_told(anna: Any, database: Database) -> None:
    client = stranger(database)
    assert client.get("/").status_code == 200, "the page itself says nothing"
    paths = ["me", "next", "text", "talk", "project", "export", "demonstrations", "backup"]
    assert {client.get(f"/api/{path}").status_code for path in paths} == {401}
    origin = {"origin": "http://localhost"}
    posts = ["judge", "skip", "flag", "undo", "renew", "talk/say", "talk/new", "train"]
    assert {client.post(f"/api/{path}", json={}, headers=origin).status_code for path in posts} == {401}


@pytest.mark.parametrize("token", ["", "wrong", "é", "\ud800", "a" * 5000, "' OR 1=1 --"])
def test_a_wrong_token_opens_nothing(anna: Any, database: Database, token: str) -> None:
    client = stranger(database)
    answer = client.get("/", params={"token": token.encode("utf-8", "replace")})
    assert answer.status_code == 403 and "set-cookie" not in answer.headers
    client.cookies.set(Service(database, PLAIN).cookie, "wrong")
    assert client.get("/api/me").status_code == 401


def test_the_token_leaves_the_address_and_the_cookie_is_another(database: Database) -> None:
    token = new_token()
    add_annotator(database, "anna", token)
    client = stranger(database)
    answer = client.get("/", params={"token": token}, follow_redirects=False)
    assert answer.status_code == 303 and answer.headers["location"] == "/"
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie and "samesite=strict" in cookie.lower() and token not in cookie
    assert client.get("/api/me").json()["annotator"] == "anna"
    with database.read() as connection:
        stored = " ".join(map(str, connection.execute(select(schema.annotators)).one()))
        stored += " ".join(map(str, connection.execute(select(schema.sessions)).one()))
    assert token not in stored and hash_token(token) in stored
    assert not any(value in stored for value in client.cookies.values())


def test_a_new_link_ends_the_old_one(database: Database, tmp_path: Path) -> None:
    links = tmp_path / "links"
    first = make_links(database, links, "lead", ["anna"])
    assert make_links(database, links, "lead", ["anna"]) == first, "a restart keeps links"
    assert links.stat().st_mode & 0o077 == 0
    client = stranger(database)
    client.get("/", params={"token": first["anna"]})
    assert client.get("/api/me").status_code == 200
    second = make_links(database, links, "lead", ["anna"], renew=True)
    assert client.get("/api/me").status_code == 401
    assert client.get("/", params={"token": first["anna"]}).status_code == 403
    assert client.get("/", params={"token": second["anna"]}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost:9999"},
        {"origin": "https://localhost"},
        {"origin": "http://localhost.evil.example"},
    ],
)
def test_posts_from_other_sites_are_refused(anna: Any, database: Database, headers: dict[str, str]) -> None:
    body = {"id": "cross-site", "assignment": anna.next()["assignment"], "ranking": [[0], [1]]}
    assert anna.client.post("/api/judge", json=body, headers=headers).status_code == 403
    form = {"origin": "http://localhost", "content-type": "application/x-www-form-urlencoded"}
    assert anna.client.post("/api/judge", content="{}", headers=form).status_code == 415
    with database.read() as connection:
        assert connection.execute(select(schema.judgements)).first() is None


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "evil.example:8000", "", "a\x00b", "[::1", "127.1"]
)
def test_other_names_for_the_server_are_refused(anna: Any, host: str) -> None:
    assert anna.client.get("/api/me", headers={"host": host}).status_code == 421
    for own in ("localhost:1234", "127.0.0.1:80", "[::1]:80", "10.0.0.7"):
        assert anna.client.get("/api/me", headers={"host": own}).status_code == 200


def test_behind_a_proxy_its_address_is_the_origin(database: Database) -> None:
    token = new_token()
    add_annotator(database, "anna", token)
    client = stranger(database, public_url="https://label.example.org")
    client.base_url = "http://label.example.org"
    cookie = client.get("/", params={"token": token}, follow_redirects=False).headers["set-cookie"]
    assert "Secure" in cookie
    name, _, value = cookie.partition(";")[0].partition("=")
    headers = {"cookie": f"{name}={value}", "origin": "https://label.example.org"}
    assert client.post("/api/undo", json={"id": "some-action"}, headers=headers).status_code == 409
    headers["origin"] = "http://label.example.org"
    assert client.post("/api/undo", json={"id": "some-action"}, headers=headers).status_code == 403


def test_large_bodies_are_refused_before_they_are_read(anna: Any) -> None:
    item = anna.next()
    huge = anna.judge(item, note="x" * 3_000_000)
    assert huge["status"] == 413

    def endless() -> Any:
        for _ in range(100):
            yield b" " * 65536

    headers = {"origin": "http://localhost", "content-type": "application/json"}
    assert anna.client.post("/api/judge", content=endless(), headers=headers).status_code == 413
    assert anna.judge(item, note="x" * 5000)["status"] == 422
    assert anna.judge(item, edit="x" * 100_001)["status"] == 422
    assert anna.judge(item, client={str(n): 1 for n in range(30)})["status"] == 422
    assert anna.judge(item, ranking=[[0], [1]] * 100)["status"] == 422
    assert anna.judge(item, ranking=[[10**30], [1]])["status"] == 422


@pytest.mark.parametrize("body", ["", "[]", "nonsense", '{"id": "12345678"}', "[" * 100_000, '{"id": 1e999}', "\xff"])
def test_broken_bodies_are_refused(anna: Any, body: str) -> None:
    headers = {"origin": "http://localhost", "content-type": "application/json"}
    answer = anna.client.post("/api/judge", content=body.encode("latin-1"), headers=headers)
    assert answer.status_code == 422 and len(answer.text) < 500


@pytest.mark.parametrize(
    "path",
    [
        "/page/../schema.py", "/page/..%2fschema.py", "/page/%2e%2e/schema.py", "/page/....//schema.py", "/page//etc/passwd",
        "/page/label.css%00.html", "/schema.py", "/page/", "/rounds/1/report", "/rounds/../1/report", "/page/__init__.py",
    ],
)  # fmt: skip
def test_path_tricks_find_nothing(anna: Any, path: str) -> None:
    assert anna.client.get(path).status_code in (403, 404)


def test_pages_and_errors_carry_the_headers(anna: Any) -> None:
    for path in ("/", "/page/main.js", "/api/me", "/api/nothing", "/page/nothing", "/?token=wrong"):
        headers = anna.client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"
    refused = anna.client.get("/api/me", headers={"host": "evil.example"})
    assert refused.headers["x-content-type-options"] == "nosniff"


def test_the_page_has_no_script_or_style_inside_and_nothing_from_elsewhere() -> None:
    folder = Path(schema.__file__).parent / "page"
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\bstyle=|\bon\w+=", page)
    for file in folder.iterdir():
        text = file.read_text(encoding="utf-8")
        links = set(re.findall(r"https?://[^\s\"')]+", text)) - {"http://www.w3.org/2000/svg"}
        assert not links, f"{file.name} names {links}"
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text), (
            file.name
        )


def test_markup_and_hidden_characters_come_back_as_they_are_and_are_never_html(
    project: Any, database: Database
) -> None:
    nasty = f"{SCRIPT}\u202egnp.exe\x00\x1b[31m"
    person = project([NewItem(nasty, nasty, nasty, [Candidate(text=nasty), Candidate(text="b")])])
    eve = person(SCRIPT)
    answer = eve.client.get("/api/next")
    assert answer.headers["content-type"] == "application/json"
    item = answer.json()["item"]
    assert item["prompt"][0]["text"] == nasty
    assert eve.judge(item, edit="half \ud83d of a pair")["status"] == 422
    assert eve.judge(item, note=nasty, edit=nasty)["outcome"] == "saved"
    with database.read() as connection:
        kept = connection.execute(select(schema.judgements)).mappings().one()
    assert kept["note"] == kept["edit"] == nasty.replace("\0", "�")
    lead = person("lead", role="lead")
    project_page = lead.client.get("/api/project")
    assert project_page.headers["content-type"] == "application/json"
    export = lead.client.get("/api/export")
    assert "attachment" in export.headers["content-disposition"] and "html" not in export.headers["content-type"]


def test_megabytes_are_sent_in_pieces(project: Any) -> None:
    long = "".join(chr(97 + n % 26) for n in range(3_000_000))
    person = project([NewItem("long", "root", long, [Candidate(text=long), Candidate(text="short")])])
    anna, ben = person("anna"), person("ben")
    answer = anna.client.get("/api/next")
    assert len(answer.content) < 100_000
    item = answer.json()["item"]
    place = [found["length"] for found in item["answers"]].index(3_000_000)
    found, start = item["answers"][place]["text"], 20_000
    piece = anna.get("/api/text", assignment=item["assignment"], part="answers", index=place, start=start)
    assert found + piece["text"] == long[:40_000] and piece["length"] == 3_000_000
    past = anna.get("/api/text", assignment=item["assignment"], part="prompt", index=0, start=4_000_000)
    assert past["text"] == ""
    for wrong in (
        {"index": 7},
        {"index": -1},
        {"part": "gold"},
        {"start": "x"},
        {"start": "9" * 30},
        {"assignment": "none"},
    ):
        query = {"assignment": item["assignment"], "part": "answers", "index": 0, "start": 0} | wrong
        assert "error" in anna.get("/api/text", **query)
    theirs = {"assignment": item["assignment"], "part": "prompt", "index": 0, "start": 0}
    assert ben.client.get("/api/text", params=theirs).status_code == 404


def test_floods_are_slowed_down(project: Any, database: Database) -> None:
    anna = project([ITEM], limits=Limits(requests=1, entries=0.2))("anna")
    codes = [anna.client.get("/api/me").status_code for _ in range(60)]
    assert codes[:9] == [200] * 9 and codes.count(429) > 20
    guesses = [anna.client.get("/", params={"token": f"guess {n}"}).status_code for n in range(10)]
    assert guesses.count(429) > 5


def test_a_rate_is_a_bucket_that_fills() -> None:
    time = [0.0]
    rate = Rate(2.0, clock=lambda: time[0])
    assert sum(rate.allows("a") for _ in range(100)) == 20
    assert rate.allows("b"), "everybody has their own"
    time[0] = 1.5
    assert sum(rate.allows("a") for _ in range(100)) == 3


def test_leads_alone_see_the_project(project: Any) -> None:
    person = project([ITEM])
    anna, lead = person("anna"), person("lead", role="lead")
    for path in ("project", "export", "demonstrations", "backup"):
        assert anna.client.get(f"/api/{path}").status_code == 403
        assert lead.client.get(f"/api/{path}").status_code == 200
    assert anna.post("/api/train", id="start-it")["status"] == 403
    assert lead.post("/api/train", id="start-it")["status"] == 404, "there is no model to train here"
