"""What annotators do, over HTTP: nothing is lost, nothing counts twice, nobody gets what is somebody else's."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from sqlalchemy import func, select

from tuningfork.data.judgements import Candidate
from tuningfork.feedback import schema
from tuningfork.feedback.database import Database
from tuningfork.feedback.items import NewItem, count
from tuningfork.feedback.project import ProjectSettings

PLAIN = ProjectSettings(overlap_share=0, repeat_share=0, gold_share=0)


def pairs(number: int, **more: Any) -> list[NewItem]:
    """Items of two answers each, whose texts say which is which."""
    answers = [Candidate(text="first"), Candidate(text="second")]
    return [NewItem(f"item {i}", f"root {i}", f"question {i}?", answers, **more) for i in range(number)]


def rows(database: Database, table: Any) -> list[Any]:
    with database.read() as connection:
        return list(connection.execute(select(table)).mappings())


def slots(database: Database) -> int:
    with database.read() as connection:
        return connection.scalar(select(func.sum(schema.items.c.open_slots))) or 0


def test_a_judgement_is_kept_by_number_whatever_the_side(project: Any, database: Database) -> None:
    anna = project(pairs(6))("anna")
    item, answer = anna.next(), {}
    for _ in range(6):
        best = [answer["text"] for answer in item["answers"]].index("second")
        answer = anna.judge(item, [[best], [1 - best]], strength=2)
        assert answer["status"] == 200 and answer["outcome"] == "saved"
        item = answer["item"]
    assert item is None
    found = rows(database, schema.judgements)
    assert [judgement["ranking"] for judgement in found] == [[[1], [0]]] * 6
    assert {tuple(judgement["shown"]) for judgement in found} == {(0, 1), (1, 0)}, "both sides occur"
    assert answer["progress"]["mine"] == 6


def test_the_same_action_twice_is_one(project: Any, database: Database) -> None:
    anna = project(pairs(3))("anna")
    item = anna.next()
    first = anna.judge(item, id="sent-twice")
    again = anna.judge(item, id="sent-twice")
    assert (first["outcome"], again["outcome"]) == ("saved", "already")
    assert first["item"] == again["item"] != item
    assert len(rows(database, schema.judgements)) == 1
    other = anna.judge(item, id="another-one")
    assert other["status"] == 409 and "already" in other["error"]
    stolen = anna.judge(first["item"], id="sent-twice")
    assert stolen["status"] == 422


def test_reload_shows_the_same_item_the_same_way(project: Any) -> None:
    person = project(pairs(5))
    anna, ben = person("anna"), person("ben")
    item = anna.next()
    assert anna.next() == item
    assert ben.next()["prompt"] != item["prompt"]


def test_undo_brings_back_the_item_and_what_was_said(project: Any, database: Database) -> None:
    anna = project(pairs(4))("anna")
    item = anna.next()
    anna.judge(item, [[1], [0]], strength=3, note="why", edit="better")
    undone = anna.undo(id="undo-once")
    assert undone["item"] == item
    assert undone["judgement"] == {
        "ranking": [[1], [0]], "all_bad": False, "strength": 3, "ratings": [], "note": "why", "edit": "better",
    }  # fmt: skip
    assert undone["progress"]["mine"] == 0
    assert anna.undo(id="undo-once")["item"] == item, "sent twice, undone once"
    assert anna.judge(item, [[0, 1]])["progress"]["mine"] == 1
    assert len(rows(database, schema.judgements)) == 2 and len(rows(database, schema.withdrawals)) == 1
    assert count(database).judged == 1 and slots(database) == 2  # one judged, one on the screen


def test_undo_goes_further_back(project: Any, database: Database) -> None:
    anna = project(pairs(4))("anna")
    first = anna.next()
    second = anna.judge(first)["item"]
    anna.judge(second)
    assert anna.undo()["item"] == second
    assert anna.undo()["item"] == first
    assert anna.undo()["error"] == "there is nothing to undo"
    assert count(database).judged == 0 and slots(database) == 3


def test_skip_gives_the_item_to_somebody_else(project: Any, database: Database) -> None:
    person = project(pairs(1))
    anna, ben = person("anna"), person("ben")
    item = anna.next()
    assert ben.next() is None
    assert anna.skip(item)["item"] is None
    theirs = ben.next()
    assert theirs["prompt"] == item["prompt"]
    refused = anna.undo()
    assert refused["status"] == 409 and refused["error"] == "somebody else has that item now"
    ben.skip(theirs, "flag", reason="unreadable")
    assert anna.undo()["item"] == item
    flagged = [event for event in rows(database, schema.events) if event["kind"] == "flagged"]
    assert flagged[0]["details"] == {"reason": "unreadable"} and flagged[0]["annotator"] == "ben"


def test_a_lease_ends_and_late_work_is_kept_but_not_counted(project: Any, database: Database, clock: Any) -> None:
    person = project(pairs(1))
    anna, ben = person("anna"), person("ben")
    item = anna.next()
    clock.time += PLAIN.lease_seconds / 2
    assert anna.post("/api/renew", assignment=item["assignment"])["status"] == 200
    clock.time += PLAIN.lease_seconds * 0.9
    assert ben.next() is None, "the lease was renewed"
    clock.time += PLAIN.lease_seconds
    assert ben.judge(ben.next())["outcome"] == "saved"
    late = anna.judge(item, note="too late")
    assert late["outcome"] == "late"
    assert count(database).judged == 1 and slots(database) == 0
    kept = [event for event in rows(database, schema.events) if event["kind"] == "late"]
    assert kept[0]["details"]["note"] == "too late"


def test_late_work_counts_where_nobody_took_the_item(project: Any, database: Database, clock: Any) -> None:
    person = project(pairs(2))
    anna, ben = person("anna"), person("ben")
    item = anna.next()
    clock.time += PLAIN.lease_seconds * 2
    ben.judge(ben.next())  # gets the item that anna has not got: hers comes first again, and is given up
    assert anna.judge(item)["outcome"] in ("saved", "late")
    assert count(database).judged <= 2
    assert slots(database) >= 0


def test_each_item_gets_as_many_annotators_as_wanted(project: Any, database: Database) -> None:
    settings = PLAIN.model_copy(update={"overlap_share": 0.5, "overlap_raters": 2})
    person = project(pairs(24), settings)
    people = [person(name) for name in ("anna", "ben", "eve")]
    idle = 0
    while idle < len(people):
        idle = 0
        for someone in people:
            item = someone.next()
            if item is None:
                idle += 1
            else:
                someone.judge(item)
    with database.read() as connection:
        found = connection.execute(
            select(schema.items.c.wanted, func.count(), func.count(schema.judgements.c.annotator.distinct()))
            .select_from(schema.items.join(schema.judgements))
            .group_by(schema.items.c.number, schema.items.c.wanted)
        ).all()
    assert len(found) == 24 and all(wanted == judged == people for wanted, judged, people in found)
    assert 6 < sum(wanted == 2 for wanted, _, _ in found) < 18


def test_repeats_and_known_answers_are_hidden_among_the_rest(project: Any, database: Database) -> None:
    settings = ProjectSettings(overlap_share=0, repeat_share=0.2, repeat_gap=4, gold_share=0.1)
    known = [
        NewItem(f"gold {i}", f"gold {i}", f"known {i}", [Candidate(text="a"), Candidate(text="b")], gold=[[0], [1]])
        for i in range(50)
    ]
    anna = project([*pairs(60), *known], settings)("anna")
    item = anna.next()
    keys = {tuple(sorted(item))}
    while item is not None:
        keys.add(tuple(sorted(item)))
        item = anna.judge(item)["item"]
    assert len(keys) == 1, "nothing on the page tells them apart"
    found = rows(database, schema.judgements)
    purposes = [judgement["purpose"] for judgement in found]
    assert purposes.count("ordinary") == 60
    assert 0.08 < purposes.count("repeat") / len(found) < 0.35 and 0.02 < purposes.count("gold") / len(found) < 0.2
    places = {judgement["item"]: place for place, judgement in enumerate(found) if judgement["purpose"] == "ordinary"}
    gaps = [place - places[j["item"]] for place, j in enumerate(found) if j["purpose"] == "repeat"]
    assert min(gaps) >= 4
    assert count(database).judged == 60


def test_what_cannot_be_is_refused(project: Any) -> None:
    settings = ProjectSettings.model_validate(PLAIN.model_dump() | {"criteria": [{"name": "true"}]})
    person = project(pairs(2), settings)
    anna, ben = person("anna"), person("ben")
    item = anna.next()
    for ranking in ([[0]], [[0], [0, 1]], [[0], [1], [2]], [[0, 1], []]):
        assert anna.judge(item, ranking)["status"] == 422, ranking
    assert anna.judge(item, ratings=[{"true": 9}, {}])["status"] == 422
    assert anna.judge(item, ratings=[{"kind": 1}, {}])["status"] == 422
    assert anna.judge(item, ratings=[{"true": 1}])["status"] == 422
    assert anna.judge(item, strength=4)["status"] == 422
    assert anna.judge(item, unknown=1)["status"] == 422
    assert ben.judge(item)["status"] == 404
    assert ben.post("/api/renew", assignment=item["assignment"])["status"] == 404
    assert anna.judge(item, ratings=[{"true": 1}, {"true": 5}])["outcome"] == "saved"


def test_ratings_follow_their_answers(project: Any, database: Database) -> None:
    settings = ProjectSettings.model_validate(PLAIN.model_dump() | {"criteria": [{"name": "true"}]})
    anna = project(pairs(8), settings)("anna")
    item = anna.next()
    while item is not None:
        ratings = [{"true": 5 if answer["text"] == "first" else 1} for answer in item["answers"]]
        item = anna.judge(item, ratings=ratings)["item"]
    assert {tuple(r["true"] for r in j["ratings"]) for j in rows(database, schema.judgements)} == {(5, 1)}


def test_the_page_knows_whether_answers_are_being_drawn(project: Any) -> None:
    anna = project([])("anna")
    service = anna.client.app.app.state.service

    def said() -> tuple[bool, str]:
        found = anna.get("/api/next")
        assert found["item"] is None and found["progress"] == anna.get("/api/me")["progress"]
        return found["progress"]["is_drawing"], found["progress"]["fault"]

    assert said() == (False, "")
    service.supply = SimpleNamespace(is_done=False, fault="")
    assert said() == (True, "")
    service.supply = SimpleNamespace(is_done=True, fault="the model is gone")
    assert said() == (False, "the model is gone")
