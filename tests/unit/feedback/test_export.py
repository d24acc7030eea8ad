"""Judgements out of the database: in the one schema, without what was taken back, with where they come from."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tuningfork.cli import app
from tuningfork.data.judgements import Candidate, read_judgements
from tuningfork.errors import RunError
from tuningfork.feedback import schema
from tuningfork.feedback.database import Database
from tuningfork.feedback.export import export, judgements
from tuningfork.feedback.items import NewItem
from tuningfork.feedback.project import ProjectSettings

PLAIN = ProjectSettings(overlap_share=0, repeat_share=0, gold_share=0)


def pairs(number: int, **more: Any) -> list[NewItem]:
    answers = [
        Candidate(text="first", ids=[5, 6], artifact="4f2a", sampling={"temperature": 0.7}),
        Candidate(text="second", ids=[7], has_ended=False),
    ]
    return [
        NewItem(f"item {i}", f"root {i}", f"question {i}?", answers, prompt_ids=[1, 2], **more) for i in range(number)
    ]


def prefer(item: dict[str, Any], text: str) -> list[list[int]]:
    best = [answer["text"] for answer in item["answers"]].index(text)
    return [[best], [1 - best]]


def test_what_was_said_comes_out_as_it_was_meant(project: Any, database: Database, tmp_path: Path) -> None:
    anna = project(pairs(5))("anna")
    item = anna.next()
    item = anna.judge(item, prefer(item, "second"), strength=3, note="why", seconds=4.5)["item"]
    item = anna.judge(item, [[0, 1]])["item"]
    item = anna.judge(item, [[0, 1]], all_bad=True, edit="a better one")["item"]
    item = anna.judge(item, prefer(item, "first"))["item"]
    anna.undo()
    provenance = export(database, tmp_path / "out")
    first, tie, bad = read_judgements(tmp_path / "out" / "judgements.jsonl")
    assert first.ranking == [[1], [0]] and first.pairs() == [(1, 0)] and first.strength == 3
    assert first.rater.id == "anna" and first.rater.kind == "person" and (first.note, first.seconds) == ("why", 4.5)
    assert first.candidates[0].ids == [5, 6] and first.candidates[0].artifact == "4f2a" and first.prompt_ids == [1, 2]
    assert not first.candidates[1].has_ended and sorted(first.shown) == [0, 1]
    assert tie.pairs() == [] and not tie.all_bad and bad.all_bad and bad.edit == "a better one"
    demonstration = json.loads((tmp_path / "out" / "demonstrations.jsonl").read_text())
    assert demonstration["completion"] == "a better one" and demonstration["extra"]["rater"] == "anna"
    counts = provenance["counts"]
    assert (counts["judgements"], counts["ties"], counts["all_bad"], counts["demonstrations"]) == (3, 2, 1, 1)
    assert json.loads((tmp_path / "out" / "provenance.json").read_text()) == provenance


def test_excluded_annotators_are_left_out_until_they_are_back(project: Any, database: Database) -> None:
    person = project(pairs(8))
    for name in ("anna", "ben"):
        someone = person(name)
        someone.judge(someone.judge(someone.next())["item"])

    def say(is_excluded: bool) -> None:
        row = {"annotator": "ben", "is_excluded": is_excluded, "by": "lead", "at": 0.0}
        with database.write() as connection:
            connection.execute(schema.exclusions.insert().values(**row))

    say(True)
    assert {judgement.rater.id for judgement in judgements(database)} == {"anna"}
    assert len(list(judgements(database, everything=True))) == 4
    say(False)
    assert len(list(judgements(database))) == 4


def test_known_answers_and_repeats_are_not_trained_on(project: Any, database: Database) -> None:
    settings = ProjectSettings(overlap_share=0, repeat_share=0.3, repeat_gap=2, gold_share=0.2)
    gold = [NewItem(f"gold {i}", "g", "known?", pairs(1)[0].candidates, gold=[[0], [1]]) for i in range(20)]
    anna = project([*pairs(24), *gold], settings)("anna")
    item = anna.next()
    while item is not None:
        item = anna.judge(item)["item"]
    plain, everything = list(judgements(database)), list(judgements(database, everything=True))
    assert sorted(judgement.item for judgement in plain) == sorted(f"item {i}" for i in range(24))
    assert len(everything) > 27 and len({judgement.id for judgement in everything}) == len(everything)


def test_the_command_exports_and_backs_up_while_others_label(project: Any, database: Database, tmp_path: Path) -> None:
    anna = project(pairs(3))("anna")
    item = anna.judge(anna.next())["item"]
    found = CliRunner().invoke(
        app, ["label-export", str(tmp_path / "out"), "--db", database.shown, "--backup"], catch_exceptions=False
    )
    assert found.exit_code == 0 and "1 judgements" in found.output
    copy = sqlite3.connect(tmp_path / "out" / "labels.db")
    assert copy.execute("select count(*) from judgements").fetchone() == (1,)
    copy.close()
    assert anna.judge(item)["outcome"] == "saved"
    with pytest.raises(RunError, match="exists"):
        database.backup(tmp_path / "out" / "labels.db")
