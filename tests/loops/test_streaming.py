"""Streamed training: the stages read files from disk, resume with the row they would have had, and need no more memory."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from tuningfork.data.reader import open_data
from tuningfork.errors import DataError, Interrupted
from tuningfork.stages import pretrain, sft

Row = dict[str, Any]
WORDS = ("cat", "mat", "cap", "map", "hat", "sun")
TEXTS = [{"text": f"the {WORDS[n % 6]} sat on the {WORDS[n % 5]}" + " and slept" * (n % 4)} for n in range(90)]
CHATS = [
    {"messages": [{"role": "user", "content": f"{n}?"}, {"role": "assistant", "content": f"the {WORDS[n % 6]}."}]}
    for n in range(80)
]
PAIRS = [{"instruction": f"say {n}", "input": "", "output": "red " * (1 + n % 5)} for n in range(80)]


@pytest.fixture
def folder(tmp_path: Path, tiny_backbone: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model and data; pools are small, so that a run goes through several."""
    import tuningfork.streams.streamed

    monkeypatch.setattr(tuningfork.streams.streamed, "POOL_BYTES", 600)
    tiny_backbone.save(tmp_path / "model")
    for name, rows in (("texts", TEXTS), ("chats", CHATS), ("pairs", PAIRS)):
        write(tmp_path / f"{name}.jsonl", rows)
    return tmp_path


def write(path: Path, rows: list[Row]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def run(module: Any, make_stage: Callable[..., Any], folder: Path, name: str, file: str, **changes: Any) -> Any:
    stage = make_stage(name, {"model": folder / "model", "data": folder / file})
    given = {"model": str(folder / "model"), "data": str(folder / file), "steps": 14, "batch_rows": 4}
    given |= {"optimizer": {"learning_rate": 1e-2}, "streaming": True}
    module.run(stage, module.StageSettings.model_validate(given | changes))
    return stage


def weights(stage: Any) -> dict[str, list[float]]:
    return {name: value.flatten().tolist() for name, value in load_file(stage.out / "model/model.safetensors").items()}


@pytest.mark.parametrize(
    ("module", "file", "changes"),
    [
        (pretrain, "texts.jsonl", {"length": 24}),
        (pretrain, "texts.jsonl", {"length": 40, "packing": "best_fit"}),
        (sft, "chats.jsonl", {"packing": "best_fit", "length": 60}),
        (sft, "pairs.jsonl", {"batching": "length_grouped"}),
    ],
    ids=["concatenate", "best_fit", "conversations", "pairs"],
)
def test_a_cut_run_goes_on_to_the_same_bits(
    make_stage: Callable[..., Any], folder: Path, module: Any, file: str, changes: Row
) -> None:
    straight = run(module, make_stage, folder, "straight", file, **changes)
    assert straight.figures["streamed"] is True and straight.figures["rows_read"] > 2 * 16
    assert any("rows in 1 blocks; audit and tokenizer see" in text for text in straight.events.said)
    assert json.loads((straight.out / "audit.json").read_text())["rows"] == straight.figures["rows"]

    def cutting(*arguments: Any) -> Any:
        stage = make_stage(*arguments)
        stage.events.on_log = lambda step: stage.stop.set("test") if step == 9 else None
        return stage

    with pytest.raises(Interrupted, match="resumes"):
        run(module, cutting, folder, "cut", file, **changes)
    resumed = run(module, make_stage, folder, "cut", file, **changes)
    assert any("resumed after step 9" in text for text in resumed.events.said)
    assert weights(resumed) == weights(straight) and resumed.figures == straight.figures


def test_what_streaming_cannot_do_is_said(make_stage: Callable[..., Any], folder: Path) -> None:
    from tuningfork.streams.streamed import open_streamed

    with pytest.raises(ValueError, match="streamed data need steps"):
        sft.StageSettings.model_validate({"data": "x", "streaming": True})
    with pytest.raises(DataError, match="only files are streamed"):
        open_streamed(make_stage("world"), open_data("world:colours/sentences"), "text")
    long = {"messages": [{"role": "user", "content": "a?"}, {"role": "assistant", "content": "the cat " * 60}]}
    write(folder / "long.jsonl", [*CHATS, long])
    with pytest.raises(DataError, match=r"long\.jsonl:81: \d+ tokens, .* skip such rows"):
        run(sft, make_stage, folder, "refused", "long.jsonl")
    stage = run(sft, make_stage, folder, "skipped", "long.jsonl", too_long="skip", steps=20)
    assert stage.figures["skipped"] == 1 and stage.figures["rows_read"] >= 81


PROGRAM = """
import functools, json, resource, sys, time
from pathlib import Path
import tuningfork.train.loop as loop
from tuningfork.runtime import Runtime
from tuningfork.stage import ResolvedInput, StageContext
from tuningfork.stages import pretrain
file, folder = Path(sys.argv[1]), Path(sys.argv[2])
class Events:
    first = None
    def log(self, *, step, **metrics):
        self.first = self.first or time.process_time()
        with (folder / "steps").open("a") as steps:
            steps.write(json.dumps([step, metrics["loss"]]) + "\\n")
    def rewind(self, step):
        rows = (folder / "steps").read_text().splitlines(keepends=True)
        (folder / "steps").write_text("".join(row for row in rows if row.endswith("\\n") and json.loads(row)[0] <= step))
        (folder / "resumed").write_text(str(step))
    def say(self, text): pass
    def progress(self, *arguments, **more): return self
    def __enter__(self): return self
    def __exit__(self, *exc): pass
    def advance(self, *arguments, **more): pass
loop.Loop = functools.partial(loop.Loop, checkpoint_every=20)
for name in ("out", "work"):
    (folder / name).mkdir(parents=True, exist_ok=True)
events = Events()
inputs = {"data": ResolvedInput(str(file), "0", file)}
stage = StageContext("pretrain", folder / "out", folder / "work", 0, Runtime("cpu", "fp32", 1), inputs, events)
model = {"scratch": {"layers": 1, "width": 16, "heads": 2, "feed_forward": 16, "context": 64, "vocabulary": 300}}
given = {"model": model, "data": str(file), "streaming": True, "steps": 90, "batch_rows": 4, "length": 64}
pretrain.run(stage, pretrain.StageSettings.model_validate(given))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"first": events.first, "peak_mb": peak, "rows_read": stage.figures["rows_read"]}))
"""
"""90 steps of a small model on a streamed file; a line a step goes to `steps`. `first` is in seconds of processor time, the
imports included, which a busy machine does not change."""


def write_large(path: Path, megabytes: int) -> None:
    with path.open("w") as file:
        for n in range(megabytes * 1_000_000 // 925):
            file.write(json.dumps({"n": n, "text": f"{n} " + "word " * 178}) + "\n")


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file_and_a_killed_stage_goes_on_exactly(tmp_path: Path) -> None:
    """90 steps of the stage on 20 MB and on 300 MB (300 steps on 2 GB are in docs/data.md); SIGKILL on the way."""
    peaks: dict[int, float] = {}
    for megabytes in (20, 300):
        write_large(tmp_path / f"{megabytes}.jsonl", megabytes)
        command = [sys.executable, "-c", PROGRAM, str(tmp_path / f"{megabytes}.jsonl")]
        done = subprocess.run(
            [*command, str(tmp_path / f"run-{megabytes}")], capture_output=True, text=True, check=True, timeout=500
        )
        figures = json.loads(done.stdout.splitlines()[-1])
        peaks[megabytes] = figures["peak_mb"]
        assert figures["first"] < 20 and figures["rows_read"] > 100
    assert peaks[300] - peaks[20] < 100
    killed = tmp_path / "killed"
    process = subprocess.Popen([*command, str(killed)], stdout=subprocess.DEVNULL)
    while not (killed / "steps").is_file() or (killed / "steps").read_text().count("\n") < 70:
        time.sleep(0.01)
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    subprocess.run([*command, str(killed)], check=True, timeout=500, capture_output=True)
    assert int((killed / "resumed").read_text()) >= 60, "it goes on from a checkpoint, not from the start"
    straight = tmp_path / "run-300"
    assert (killed / "steps").read_text() == (straight / "steps").read_text()
    model = "out/model/model.safetensors"
    assert (killed / model).read_bytes() == (straight / model).read_bytes()
