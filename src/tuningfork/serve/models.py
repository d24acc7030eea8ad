"""Which models a run compares: the ones its evaluate stage names, or its last model."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuningfork.errors import RunError


@dataclass(frozen=True)
class RunModels:
    """Model folders of a run, and the reward model where there is one."""

    before: Path | None
    after: Path
    reward: Path | None
    settings: dict[str, Any]
    """settings of the stage that sampled last: `sampling` is how answers are drawn"""
    prompt_ending: str
    """white space that every prompt of the run ends with; a question typed in a chat gets it too"""
    talks: bool = False
    """whether the run trained on conversations; a chat then goes through the model's chat template"""


def find_models(run: Path) -> RunModels:
    """Model folders of the newest stages of `run`; RunError when it holds no model. A run of several seeds shows its first."""
    if not run.is_dir():
        raise RunError(f"{run} is not a run folder; `tuningfork list` names the runs")
    seeds = sorted(run.glob("seed-*"))
    folders = sorted((seeds[0] if seeds else run).glob("[0-9]*-*/manifest.json"), key=_number)
    manifests = [(path.parent, json.loads(path.read_text(encoding="utf-8"))) for path in folders]
    models = {m["kind"]: folder / "model" for folder, m in manifests if (folder / "model" / "config.json").is_file()}
    writers = [kind for kind in reversed(models) if kind in ("rl", "preference", "sft", "pretrain")]
    if not writers:
        raise RunError(f"{run} holds no model yet; let the run get past its first training stage")
    settings = next((m["settings"] for _, m in reversed(manifests) if "sampling" in m["settings"]), {})
    before = models[writers[1]] if len(writers) > 1 else None
    ending = _common_ending([folder / "samples.jsonl" for folder, m in manifests if m["kind"] == "evaluate"])
    talks = any(m["kind"] == "sft" and m.get("figures", {}).get("format") == "conversation" for _, m in manifests)
    return RunModels(before, models[writers[0]], models.get("reward"), settings, ending, talks)


def _common_ending(files: list[Path]) -> str:
    """White space at the end of all prompts of the first file there is."""
    for path in files:
        if path.is_file():
            prompts = [json.loads(line)["prompt"] for line in path.read_text(encoding="utf-8").splitlines()]
            endings = {prompt[len(prompt.rstrip()) :] for prompt in prompts}
            return endings.pop() if len(endings) == 1 else ""
    return ""


def _number(path: Path) -> int:
    return int(path.parent.name.split("-")[0])
