"""Train now: exports what was judged, runs a recipe on it, shows its report, goes on with the new model."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tuningfork.data.judgements import Candidate, read_judgements
from tuningfork.feedback.database import Database
from tuningfork.feedback.items import NewItem, close_rounds_before, count
from tuningfork.feedback.rounds import Rounds

TRAIN = """
out = pathlib.Path(sys.argv[sys.argv.index("--out") + 1])
out.mkdir(parents=True)
(out / "arguments.json").write_text(json.dumps(sys.argv[1:]))
(out / "report.html").write_text("<!doctype html><style>p{}</style><p>better</p>")
print("better: it answers more questions")
"""


def pairs(number: int) -> list[NewItem]:
    answers = [Candidate(text="first"), Candidate(text="second")]
    return [NewItem(f"item {i}", f"root {i}", "which?", answers) for i in range(number)]


@pytest.fixture
def trained_by(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """`trained_by(program)`: a small program stands for `tuningfork run`."""

    def set_up(program: str) -> None:
        script = tmp_path / "python"
        script.write_text(f"#!{sys.executable}\nimport json, pathlib, sys, time\n{program}\n")
        script.chmod(0o755)
        monkeypatch.setattr("tuningfork.feedback.rounds.sys.executable", str(script))

    return set_up


def labelled(project: Any, database: Database, tmp_path: Path, **more: Any) -> tuple[Any, Rounds, list[Any]]:
    """A project with a lead and six judgements, four of which a round needs."""
    learnt: list[Any] = []

    def learn(run: Path, number: int) -> str:
        learnt.append((run, number))
        return "the new model"

    rounds = Rounds(database, tmp_path / "rounds", "label-round", "model", learn, minimum=4)
    lead = project(pairs(20), trainer=rounds)("lead", role="lead")
    item = lead.next()
    for _ in range(6):
        item = lead.judge(item)["item"]
    return lead, rounds, learnt


def wait_for(rounds: Rounds, state: str) -> dict[str, Any]:
    end = time.monotonic() + 30
    while (found := rounds.describe()["rounds"][-1])["state"] == "running":
        assert time.monotonic() < end
        time.sleep(0.02)
    assert found["state"] == state, found
    return found


def test_a_round_is_trained_and_its_report_shown(
    project: Any, database: Database, tmp_path: Path, trained_by: Callable[[str], None]
) -> None:
    trained_by(TRAIN)
    lead, rounds, learnt = labelled(project, database, tmp_path)
    assert lead.get("/api/project")["training"]["ready"]
    assert lead.client.get("/rounds/1/report").status_code == 404
    assert lead.post("/api/train", id="start-it")["status"] == 200
    done = wait_for(rounds, "complete")
    assert done["message"] == "better: it answers more questions" and done["num_judgements"] == 6
    place = tmp_path / "rounds" / "round-1"
    assert len(read_judgements(place / "data" / "judgements.jsonl")) == 6
    arguments = json.loads((place / "run" / "arguments.json").read_text())
    assert arguments[:4] == ["-m", "tuningfork.cli", "run", "label-round"]
    assert f"data={place / 'data'}" in arguments and any(a.startswith("model=/") for a in arguments)
    assert learnt == [(place / "run", 1)] and rounds.model == "the new model"
    report = lead.client.get("/rounds/1/report")
    assert report.status_code == 200 and "better" in report.text
    assert "script-src" not in report.headers["content-security-policy"], "scripts fall under default-src 'none'"
    assert "default-src 'none'" in report.headers["content-security-policy"]
    refused = lead.post("/api/train", id="again-please")
    assert refused["status"] == 409 and "0 judgements since the last round" in refused["error"]


def test_a_round_that_fails_says_why_and_can_be_tried_again(
    project: Any, database: Database, tmp_path: Path, trained_by: Callable[[str], None]
) -> None:
    trained_by("print('loading'); print('preference.data: too few judgements'); sys.exit(2)")
    lead, rounds, learnt = labelled(project, database, tmp_path)
    lead.post("/api/train", id="start-it")
    assert wait_for(rounds, "failed")["message"] == "preference.data: too few judgements"
    assert learnt == [] and rounds.model == "model" and lead.get("/api/project")["training"]["ready"]


def test_one_round_at_a_time_and_a_lost_one_is_not_running(
    project: Any, database: Database, tmp_path: Path, trained_by: Callable[[str], None]
) -> None:
    trained_by("time.sleep(60)")
    lead, rounds, _ = labelled(project, database, tmp_path)
    assert lead.post("/api/train", id="start-it")["status"] == 200
    assert lead.post("/api/train", id="start-two")["status"] == 409
    again = Rounds(database, tmp_path / "rounds", "label-round", "model", lambda run, number: "", minimum=4)
    assert again.describe()["rounds"][0]["state"] == "failed" and "ended" in again.describe()["rounds"][0]["message"]
    rounds.stop()


def test_items_of_an_earlier_policy_are_not_asked_any_more(project: Any, database: Database) -> None:
    person = project(pairs(4))
    anna, ben = person("anna"), person("ben")
    item = anna.next()
    close_rounds_before(database, 1)
    assert ben.next() is None and count(database).wanted == 1
    assert anna.judge(item)["outcome"] == "saved" and count(database).left == 0
