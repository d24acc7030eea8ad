"""Statistics are those of a whole optimizer step: however it is cut into micro-batches, the gradient is the same.

In float64, through the real streams, for every method, after the policy has moved away from the one that sampled.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tuningfork.methods import policy, preference
from tuningfork.stages import preference as preference_stage
from tuningfork.stages import rl

pytestmark = pytest.mark.slow

WORDS = ("cat", "mat", "cap", "map", "tap", "cot", "mop", "pat")
CUTS = ([1] * 16, [3, 5, 8], [10, 6])


class Captured(Exception):
    """Ends a stage where its training would begin."""


@pytest.fixture
def streams(monkeypatch: pytest.MonkeyPatch, tiny_backbone: Any) -> list[Any]:
    """What a stage would have trained, as `(main stream, modules)`, all of it in float64."""
    found: list[Any] = []

    def loop(stage: Any, modules: Any, streams: Sequence[Any], *rest: Any, **options: Any) -> None:
        found.append((streams[0], modules))
        raise Captured

    def load(*arguments: Any, **options: Any) -> Any:
        tiny_backbone.model.double()
        return tiny_backbone

    monkeypatch.setattr("tuningfork.train.loop.Loop", loop)
    monkeypatch.setattr("tuningfork.model.loading.load_backbone", load)
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    prompts = [{"id": word, "prompt": f"what colour is the {word}?\n", "root": word} for word in WORDS]
    answers = (("it is red", "blue"), ("red", "it is blue"), ("a cat", "cot"))
    pairs = [
        row | {"id": f"{row['id']}{n}", "chosen": good, "rejected": bad}
        for row in prompts
        for n, (good, bad) in enumerate(answers)
    ]
    for name, rows in (("prompts", prompts), ("pairs", pairs)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "words.txt").write_text("e\na\n")
    (tmp_path / "reward.py").write_text(
        "def score(prompt, response, metadata):\n"
        "    return sum(c in 'acegikmo' for c in response.lower()) / (1 + len(response))\n"
    )
    return tmp_path


def move(modules: Any) -> list[Tensor]:
    """The trained parameters, a little away from where they were, so that ratios differ from 1."""
    torch.manual_seed(0)
    parameters = [p for module in modules.values() for p in module.parameters() if p.requires_grad]
    with torch.no_grad():
        for parameter in parameters:
            parameter.add_(0.02 * torch.randn_like(parameter))
    return parameters


def gradient_of(stream: Any, parts: Sequence[Any], parameters: Sequence[Tensor]) -> Tensor:
    """All gradients in a row, summed over the parts as the loop does."""
    for parameter in parameters:
        parameter.grad = None
    for part in parts:
        stream.loss(part).loss.backward()
    return torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in parameters])


def check_cuts(stream: Any, modules: Any) -> None:
    for module in modules.values():
        module.double()
    batch, parameters = stream.next_batch(0), move(modules)
    whole = gradient_of(stream, [batch], parameters)
    assert whole.dtype == torch.float64 and float(whole.norm()) > 1e-6
    for sizes in CUTS:
        starts = [sum(sizes[:n]) for n in range(len(sizes))]
        parts = [batch.slice(slice(a, a + size)) for a, size in zip(starts, sizes, strict=True) if a < len(batch)]
        error = (gradient_of(stream, parts, parameters) - whole).norm() / whole.norm()
        assert float(error) < 1e-12, (sizes, float(error))


OPTIONS: dict[str, dict[str, Any]] = {"dapo": {"overlong_share": None}, "ppo": {"epochs": 1}}


@pytest.mark.parametrize("name", policy.names())
def test_a_policy_method(make_stage: Callable[..., Any], folder: Path, streams: list[Any], name: str) -> None:
    values = {
        "reward": {"name": "function", "function": f"{folder / 'reward.py'}:score"},
        "prompts": "p",
        "method": {"name": name, **OPTIONS.get(name, {})},
        "adapter": {"kind": "full"},
        "iterations": 1,
        "prompts_per_iteration": 4,
        "samples_per_prompt": 4,
        "sampling": {"max_new_tokens": 5},
        "scale_reward": {"by": "none"},
        "shaping": {"missing_eos_score": None},
        "rehearsal": None,
    }
    inputs = {"policy": folder, "prompts": folder / "prompts.jsonl", "reward.function": folder / "reward.py"}
    with pytest.raises(Captured):
        rl.run(make_stage(name, inputs), rl.StageSettings.model_validate(values))
    check_cuts(*streams[0])


@pytest.mark.parametrize("name", preference.names())
def test_a_preference_method(make_stage: Callable[..., Any], folder: Path, streams: list[Any], name: str) -> None:
    values = {
        "data": "d",
        "method": {"name": name},
        "adapter": {"kind": "full"},
        "batch_rows": 16,
        "holdout_share": 0.2,
    }
    inputs = {"model": folder, "data": folder / "pairs.jsonl"}
    with pytest.raises(Captured):
        preference_stage.run(make_stage(name, inputs), preference_stage.StageSettings.model_validate(values))
    check_cuts(*streams[0])
