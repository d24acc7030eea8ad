"""The stage `label` in a run: it draws answers, waits for people, survives Ctrl-C, and hands on what they said."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tuningfork.data.judgements import read_judgements

HERE = Path(__file__).parent
WANTED = 24
RECIPE = f"""version: 1
name: labelled
model: {{scratch: {{layers: 1, width: 32, heads: 2, feed_forward: 48, context: 64, vocabulary: 400}}}}
runtime: {{threads: 1}}
stages:
  - world: {{world: colours, spec_file: {HERE / "tiny-world.yaml"}}}
  - pretrain: {{model: $model, data: world/pretrain.jsonl, steps: 40, batch_rows: 8, length: 32}}
  - sft: {{data: world/sft.jsonl, steps: 40, batch_rows: 8}}
  - label:
      prompts: world/prompts_train.jsonl
      draws: [{{max_new_tokens: 12}}, {{max_new_tokens: 12, temperature: 2}}]
      judgements: {WANTED}
      minimum: 8
      annotators: [anna]
      project: {{overlap_share: 0, repeat_share: 0}}
  - preference: {{data: label/judgements.jsonl, holdout_share: 0.3, batch_rows: 8, minimum_accuracy: 0, answers: 4}}
"""

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("chain")]


class Run:
    """`tuningfork run` in a process, and the page it serves."""

    def __init__(self, recipe: Path, out: Path) -> None:
        command = [sys.executable, "-u", "-m", "tuningfork.cli", "run", str(recipe), "--out", str(out)]
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        self.said: list[str] = []

    def link(self, name: str) -> str:
        """The link of an annotator, as the run prints it."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(line)
            if found := re.search(rf"{name} labels at (http\S+)", line):
                return found[1]
        raise AssertionError("".join(self.said))

    def end(self, code: int) -> str:
        said, _ = self.process.communicate(timeout=240)
        assert self.process.returncode == code, "".join(self.said) + said
        return said


def visit(link: str) -> httpx2.Client:
    base = link.split("/?")[0]
    client = httpx2.Client(base_url=base, headers={"origin": base}, timeout=60, follow_redirects=True)
    assert client.get(link).status_code == 200
    return client


def judge(client: httpx2.Client, number: int) -> list[dict[str, Any]]:
    """So many judgements, as soon as there are answers: the longer answer wins. Returns what was sent."""
    sent = []
    end = time.monotonic() + 200
    while len(sent) < number:
        assert time.monotonic() < end, "no answers were drawn"
        item = client.get("/api/next").json()["item"]
        if item is None:
            time.sleep(0.2)
            continue
        lengths = [answer["length"] for answer in item["answers"]]
        best = lengths.index(max(lengths))
        body = {
            "id": uuid.uuid4().hex,
            "assignment": item["assignment"],
            "ranking": [[best], [1 - best]],
            "strength": 2,
        }
        answer = client.post("/api/judge", json=body)
        assert answer.status_code == 200, answer.text
        sent.append(body)
    return sent


def test_a_run_waits_for_people_and_learns_what_they_said(tmp_path: Path) -> None:
    recipe, out = tmp_path / "labelled.yaml", tmp_path / "run"
    recipe.write_text(RECIPE, encoding="utf-8")
    run = Run(recipe, out)
    first = judge(visit(run.link("anna")), 9)
    run.process.send_signal(signal.SIGINT)
    assert "resumes" in run.end(130)
    run = Run(recipe, out)
    lead, anna = visit(run.link("lead")), visit(run.link("anna"))
    assert lead.get("/api/project").json()["judged"] == 9, "nothing was lost"
    second = judge(anna, WANTED - 9)
    run.end(0)
    kept = read_judgements(out / "4-label" / "judgements.jsonl")
    assert [judgement.id for judgement in kept] == [body["id"] for body in first + second]
    for judgement in kept:
        (winner, loser), *_ = judgement.pairs()
        texts = [candidate.text for candidate in judgement.candidates]
        assert len(texts[winner]) >= len(texts[loser])
        assert judgement.candidates[0].ids and judgement.candidates[0].artifact and judgement.prompt_ids
        assert judgement.rater.id == "anna" and judgement.rater.kind == "person" and judgement.strength == 2
    figures = json.loads((out / "4-label" / "manifest.json").read_text())["figures"]
    assert figures["judgements"] == WANTED
    assert json.loads((out / "4-label" / "provenance.json").read_text())["counts"]["judgements"] == WANTED
    trained = json.loads((out / "5-preference" / "manifest.json").read_text())
    assert trained["status"] == "complete" and trained["figures"]


def test_train_now_goes_on_with_fewer(tmp_path: Path) -> None:
    recipe, out = tmp_path / "labelled.yaml", tmp_path / "run"
    recipe.write_text(RECIPE.replace("minimum: 8", "minimum: 10"), encoding="utf-8")
    run = Run(recipe, out)
    lead = visit(run.link("lead"))
    judge(lead, 9)
    refused = lead.post("/api/train", json={"id": "too-early"})
    assert refused.status_code == 409 and "at least 10" in refused.json()["error"]
    judge(lead, 3)
    assert lead.post("/api/train", json={"id": "now-it-is"}).status_code == 200
    run.end(0)
    assert len(read_judgements(out / "4-label" / "judgements.jsonl")) == 12
