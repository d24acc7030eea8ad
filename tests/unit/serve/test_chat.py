"""Talking to a run's model: conversations go on through the chat template, single questions start afresh."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from tuningfork.data.rendering import Renderer
from tuningfork.errors import DataError
from tuningfork.evals import answers
from tuningfork.rollout.settings import SamplingSettings
from tuningfork.serve import chat as module
from tuningfork.serve.models import find_models


def write_run(folder: Path, backbone: Any, figures: dict[str, Any]) -> Path:
    """A run with one finished sft stage."""
    stage = folder / "1-sft"
    backbone.save(stage / "model", verify=False)
    manifest = {"kind": "sft", "settings": {"sampling": {"max_new_tokens": 3}}, "figures": figures}
    (stage / "manifest.json").write_text(json.dumps(manifest))
    return folder


def asked(monkeypatch: pytest.MonkeyPatch, run: Path, *lines: str) -> list[dict[str, Any]]:
    """The prompt rows that a chat of these lines asks the model for."""
    rows: list[dict[str, Any]] = []
    original = answers.answer_prompts

    def recording(backbone: Any, given: Any, *arguments: Any, **options: Any) -> Any:
        rows.extend(given)
        return original(backbone, given, *arguments, **options)

    monkeypatch.setattr(answers, "answer_prompts", recording)
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(lines) + "\n"))
    module.chat(run)
    return rows


def test_a_conversation_goes_on_until_it_is_forgotten(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny_backbone: Any
) -> None:
    run = write_run(tmp_path, tiny_backbone, {"format": "conversation"})
    assert find_models(run).talks
    rows = asked(monkeypatch, run, "the cat", "the mat", "/new", "the hat")
    roles = [[message["role"] for message in row["messages"]] for row in rows]
    assert roles == [["user"], ["user", "assistant", "user"], ["user"]]
    assert [row["messages"][-1]["content"] for row in rows] == ["the cat", "the mat", "the hat"]


def test_single_questions_start_afresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny_backbone: Any) -> None:
    run = write_run(tmp_path, tiny_backbone, {"format": "completion"})
    assert not find_models(run).talks
    rows = asked(monkeypatch, run, "the cat", "/new")
    assert [row["prompt"] for row in rows] == ["the cat", "/new"]


def test_the_model_is_asked_as_it_was_trained(tiny_backbone: Any) -> None:
    talk = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    (prompt,) = answers.make_prompts(
        tiny_backbone, [{"id": "q", "messages": [*talk, {"role": "user", "content": "c"}]}]
    )
    trained = Renderer(tiny_backbone.tokenizer).conversation(
        [*talk, {"role": "user", "content": "c"}, {"role": "assistant", "content": "d"}], "row", loss_on="last"
    )
    assert prompt.ids == trained.ids[: trained.is_target.index(True)]


def test_an_answer_that_fills_the_context_is_refused(tiny_backbone: Any) -> None:
    said: list[dict[str, str]] = []
    sampling = SamplingSettings(max_new_tokens=2)
    with pytest.raises(DataError, match="the model's context holds 64"):
        module.answer(tiny_backbone, "the cat " * 60, sampling, 1, said)
    assert said == []
