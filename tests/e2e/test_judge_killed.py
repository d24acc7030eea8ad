"""SIGKILL in the middle of a judge's work; the same command pays for no reply again and loses none."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "asking"))

from server import completion, serving

PAIRS, CONCURRENCY = 60, 3


def say(body: dict[str, Any]) -> dict[str, Any]:
    """Prefers the answer that says yes, after a moment."""
    time.sleep(0.1)
    text = body["messages"][0]["content"]
    first = text.partition("[Answer A]\n")[2].startswith("yes")
    told = completion("A" if first else "B", usage=(20, 1))
    top = [
        {"token": "A", "logprob": math.log(0.9 if first else 0.1)},
        {"token": "B", "logprob": math.log(0.1 if first else 0.9)},
    ]
    told["choices"][0]["logprobs"] = {"content": [{"top_logprobs": top}]}
    return told


@pytest.mark.slow
def test_a_killed_judge_resumes_and_pays_for_nothing_twice(tmp_path: Path) -> None:
    data = tmp_path / "data.jsonl"
    rows = [{"prompt": f"question {n}?", "chosen": f"yes {n}", "rejected": f"no {n}"} for n in range(PAIRS)]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    asked: list[str] = []
    lock = threading.Lock()

    def remember(body: dict[str, Any]) -> dict[str, Any]:
        with lock:
            asked.append(body["messages"][0]["content"])
        return say(body)

    with serving(remember) as server:
        command = [
            sys.executable, "-m", "tuningfork.cli", "judge", "--data", str(data), "--out", str(tmp_path / "run"), "--trust",
            "judge.name=model", "judge.by.kind=endpoint", f"judge.by.url={server.url}", "judge.by.model=big",
            "judge.by.token_cap=100000", f"judge.by.concurrency={CONCURRENCY}",
        ]  # fmt: skip
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 300
        while len(asked) < PAIRS and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.02)
        assert process.poll() is None and len(asked) >= PAIRS, "it was at work"
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        for pid in (process.pid, *map(int, children)):
            os.kill(pid, signal.SIGKILL)
        process.wait()
        time.sleep(0.5)  # what is under way at the server ends
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    (found,) = (tmp_path / "run").glob("*-judge/judgements.jsonl")
    judged = [json.loads(line) for line in found.read_text().splitlines()]
    assert len(judged) == PAIRS and all(row["ranking"] == [[0], [1]] for row in judged), "nothing is lost"
    assert len(set(asked)) == 2 * PAIRS
    assert len(asked) <= 2 * PAIRS + CONCURRENCY, "only what was under way when it was killed is asked again"
