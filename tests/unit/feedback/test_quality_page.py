"""The quality page and its interface: for leads only, exclusion that can be taken back, items that come to the lead."""

from __future__ import annotations

import re
import uuid
from typing import Any

from sqlalchemy import func, select

from tuningfork.data.judgements import Candidate
from tuningfork.feedback import schema
from tuningfork.feedback.database import Database
from tuningfork.feedback.export import judgements
from tuningfork.feedback.items import NewItem, count
from tuningfork.feedback.project import ProjectSettings

ONCE = ProjectSettings(overlap_share=0, repeat_share=0, gold_share=0)
TWICE = ONCE.model_copy(update={"raters": 2})
HOSTILE = "<script>alert(1)</script>\"\u202e'><img src=x onerror=alert(1)>"


def pairs(number: int) -> list[NewItem]:
    """Items of two answers each, whose texts say which is which."""
    answers = [[Candidate(text=f"{name} {index}") for name in ("first", "second")] for index in range(number)]
    return [NewItem(f"item {index}", f"root {index}", f"question {index}?", two) for index, two in enumerate(answers)]


def work(person: Any, best: int | None = None, note: str = "") -> int:
    """Judge everything: the left answer, or always answer `best` of the texts `first`, `second`."""
    number = 0
    while (item := person.next()) is not None:
        place = 0
        if best is not None:
            place = [text["text"].startswith("second") for text in item["answers"]].index(bool(best))
        person.judge(item, [[place], [1 - place]], strength=2, seconds=4.0, note=note)
        number += 1
    return number


def exclude(lead: Any, annotator: str, is_excluded: bool, **more: object) -> dict[str, Any]:
    body = {"id": uuid.uuid4().hex, "annotator": annotator, "is_excluded": is_excluded} | more
    return lead.post("/api/quality/exclude", **body)


def test_figures_and_page(project: Any) -> None:
    person = project(pairs(8), TWICE)
    work(person("anna"), best=0)
    work(person("ben"), best=0)
    lead = person("lead", "lead")
    found = lead.get("/api/quality")
    assert (found["judgements"], found["items"]) == (16, 8)
    assert found["overlapping"] == {"value": 1.0, "hits": 8, "n": 8, "ci95": found["overlapping"]["ci95"]}
    assert found["agreement"][0]["value"] == 1.0
    assert found["agreement"][1]["value"] is None and "one category" in found["agreement"][1]["reason"]
    assert found["disagreements"] == []
    page = lead.client.get("/quality")
    assert page.status_code == 200 and "default-src 'none'" in page.headers["content-security-policy"]
    assert "Krippendorff" in page.text and page.text.count("<svg") >= 6
    assert not re.search(r"<script(?! type=\"module\" src=\"page/quality.js\")|style=|onclick", page.text)
    assert lead.client.get("/page/quality.js").status_code == lead.client.get("/page/quality.css").status_code == 200
    assert lead.get("/api/project")["quality"] == "quality"


def test_only_leads_see_it(project: Any) -> None:
    person = project(pairs(2), ONCE)
    anna = person("anna")
    assert anna.client.get("/quality").status_code == 403
    assert anna.client.get("/api/quality").status_code == 403
    assert exclude(anna, "anna", True)["status"] == 403
    assert anna.post("/api/quality/adjudicate", item="item 0")["status"] == 403


def test_exclusion_is_a_row_that_can_be_taken_back(project: Any, database: Database) -> None:
    person = project(pairs(6), TWICE)
    work(person("anna"), best=0)
    work(person("ben"), best=1)
    lead = person("lead", "lead")
    assert lead.get("/api/quality")["agreement"][0]["value"] == 0.0
    action = uuid.uuid4().hex
    assert exclude(lead, "ben", True, id=action, reason="did not read")["changed"]
    assert not exclude(lead, "ben", True, id=action)["changed"]  # sent again
    assert not exclude(lead, "ben", True)["changed"]  # is out already
    found = lead.get("/api/quality")
    assert found["excluded"] == {"ben": "did not read"} and found["judgements"] == 6
    assert {judgement.rater.id for judgement in judgements(database)} == {"anna"}
    assert "did not read" in lead.client.get("/quality").text
    assert exclude(lead, "ben", False)["changed"]
    assert lead.get("/api/quality")["judgements"] == 12 and len(list(judgements(database))) == 12
    assert exclude(lead, "nobody", True)["status"] == 404
    with database.read() as connection:
        rows = connection.execute(select(schema.exclusions.c.is_excluded, schema.exclusions.c.by)).all()
        assert connection.scalar(select(func.count()).select_from(schema.judgements)) == 12
        kinds = connection.scalars(select(schema.events.c.kind).where(schema.events.c.annotator == "lead")).all()
    assert rows == [(True, "lead"), (False, "lead")] and {"excluded", "included"} <= set(kinds)


def test_a_disagreement_comes_to_the_lead(project: Any, database: Database) -> None:
    person = project(pairs(3), TWICE)
    work(person("anna"), best=0)
    work(person("ben"), best=1)
    lead = person("lead", "lead")
    assert [one["leader"] for one in lead.get("/api/quality")["disagreements"]] == [None] * 3
    assert lead.next() is None
    before = count(database).wanted
    for _ in range(2):  # pressed twice it is one
        assert lead.post("/api/quality/adjudicate", item="item 1")["status"] == 200
    assert count(database).wanted == before + 1
    item = lead.next()
    assert item["prompt"][0]["text"] == "question 1?"
    place = [text["text"] for text in item["answers"]].index("first 1")
    assert lead.judge(item, [[place], [1 - place]])["outcome"] == "saved"
    found = {one["item"]: one for one in lead.get("/api/quality")["disagreements"]}
    assert found["item 1"]["leader"] == 0 and found["item 2"]["leader"] is None
    assert lead.post("/api/quality/adjudicate", item="item 1")["status"] == 409
    assert lead.post("/api/quality/adjudicate", item="item 9")["status"] == 404


def test_hostile_texts_are_shown_as_text(project: Any) -> None:
    items = [
        NewItem(HOSTILE, HOSTILE, HOSTILE, [Candidate(text=f"first {HOSTILE}"), Candidate(text=f"second {HOSTILE}")])
    ]
    person = project(items, TWICE)
    work(person("anna<b>"), best=0)
    work(person("ben"), best=1, note=HOSTILE)
    lead = person("lead", "lead")
    exclude(lead, "anna<b>", True, reason=HOSTILE)
    exclude(lead, "anna<b>", False)
    text = lead.client.get("/quality").text
    assert "<script>alert" not in text and "<img src=x" not in text and "<b>" not in text
    assert "U+202E" in text and "&lt;script&gt;" in text
    assert lead.post("/api/quality/adjudicate", item=HOSTILE)["status"] == 200
