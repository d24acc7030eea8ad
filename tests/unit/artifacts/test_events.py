"""Events: rows that survive a cut, in the order of steps, and messages for a display."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tuningfork.artifacts.events import RunEvents, read_rows, set_aside
from tuningfork.display import Display, duration, visible


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Folders of an artifact and of its checkpoints."""
    out, work = tmp_path / "out", tmp_path / "work"
    out.mkdir()
    work.mkdir()
    return out, work


def events(folders: tuple[Path, Path], sent: list[dict[str, Any]] | None = None) -> RunEvents:
    return RunEvents("sft", *folders, (sent if sent is not None else []).append)


def steps(path: Path) -> list[int]:
    return [row["step"] for row in read_rows(path)]


def test_rows_after_the_checkpoint_are_dropped_on_resume(folders: tuple[Path, Path]) -> None:
    out, work = folders
    first = events(folders)
    for step in (1, 2, 3, 4):
        first.log(step=step, loss=1 / step)
    first.close()
    (out / "samples.jsonl").write_text('{"step": 2, "text": "a"}\n{"step": 4, "text": "b"}\n{"text": "no step"}\n')
    set_aside(out, work)
    second = events(folders)
    second.rewind(2)
    second.log(step=3, loss=0.0)
    second.close()
    assert steps(out / "metrics.jsonl") == [1, 2, 3]
    assert read_rows(out / "samples.jsonl") == [{"step": 2, "text": "a"}]


def test_start_from_nothing_drops_what_an_earlier_attempt_logged(folders: tuple[Path, Path]) -> None:
    out, work = folders
    (out / "metrics.jsonl").write_text('{"step": 1}\n{"step": 2}\n')
    set_aside(out, work)
    again = events(folders)
    again.log(step=1)
    again.close()
    assert steps(out / "metrics.jsonl") == [1]


def test_last_line_cut_by_a_crash_is_dropped_and_damage_elsewhere_is_not_hidden(folders: tuple[Path, Path]) -> None:
    out, work = folders
    (out / "metrics.jsonl").write_text('{"step": 1}\n{"step": 2, "lo')
    set_aside(out, work)
    resumed = events(folders)
    resumed.rewind(5)
    assert steps(out / "metrics.jsonl") == [1]
    (work / "metrics.jsonl").write_text('{"step"\n{"step": 2}\n')
    with pytest.raises(AssertionError, match="damaged in the middle"):
        resumed.rewind(5)


def test_cut_between_start_and_resume_loses_no_row(folders: tuple[Path, Path]) -> None:
    out, work = folders
    (out / "metrics.jsonl").write_text('{"step": 1}\n')
    set_aside(out, work)
    set_aside(out, work)  # the second attempt was killed before it logged
    third = events(folders)
    third.rewind(1)
    assert steps(out / "metrics.jsonl") == [1]


def test_numbers_that_are_not_finite_become_null(folders: tuple[Path, Path]) -> None:
    one = events(folders)
    one.log(step=1, loss=math.nan, kl=math.inf, reward=0.5)
    assert json.loads((folders[0] / "metrics.jsonl").read_text()) == {
        "step": 1,
        "loss": None,
        "kl": None,
        "reward": 0.5,
    }


def test_a_row_is_on_disk_when_it_is_logged(folders: tuple[Path, Path]) -> None:
    events(folders).log(step=1)
    assert steps(folders[0] / "metrics.jsonl") == [1]


def test_bar_sends_few_messages_and_always_the_last_state(folders: tuple[Path, Path]) -> None:
    sent: list[dict[str, Any]] = []
    with events(folders, sent).progress(1000, "train", done=10) as bar:
        for step in range(11, 1001):
            bar.advance(1, loss=1 / step)
    kinds = [message["event"] for message in sent]
    assert kinds[0] == "start" and kinds[-1] == "stop" and len(kinds) < 50
    assert sent[-2] == {"event": "advance", "bar": "sft/1", "done": 1000, "figures": {"loss": 1 / 1000}}


def shown(messages: list[dict[str, Any]], is_terminal: bool, plain_every: float = 0) -> str:
    file = io.StringIO()
    display = Display(Console(file=file, force_terminal=is_terminal, width=100), plain_every=plain_every)
    for message in messages:
        display.show(message)
    display.close()
    return file.getvalue()


BAR = [
    {"event": "start", "bar": "b", "total": 10, "label": "train", "unit": "step", "done": 0},
    {"event": "advance", "bar": "b", "done": 5, "figures": {"loss": 0.25}},
    {"event": "stop", "bar": "b", "failed": False},
]


def test_plain_lines_have_progress_rate_time_left_and_figures() -> None:
    first, last = shown(BAR, is_terminal=False).splitlines()
    assert first.startswith("train 5/10 steps") and "steps/s" in first and "0 s left" in first
    assert "loss 0.25" in first and last.startswith("train 5/10 steps")


def test_plain_lines_come_seldom() -> None:
    assert len(shown(BAR[:1] + BAR[1:2] * 500, is_terminal=False, plain_every=60).splitlines()) == 0


def test_terminal_has_a_bar() -> None:
    assert "████████████░░░░░░░░░░░░ train 5/10 steps" in shown(BAR, is_terminal=True)


def test_control_and_direction_characters_are_escaped() -> None:
    assert visible("a\x1b[2Jb\u202ec\td\n") == "a\\x1b[2Jb\\u202ec\td\n"
    assert "\x1b" not in shown([{"event": "say", "text": "\x1b[31mred"}], is_terminal=False)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.6, "1 min 00 s"), (200, "3 min 20 s"), (7500, "2 h 05 min")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
