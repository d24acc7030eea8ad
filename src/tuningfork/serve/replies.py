"""A process that answers prompts: `python -m tuningfork.serve.replies MODEL...`. JSON lines in, JSON lines out.

So that a server that needs no torch can have a model sampled. A request is
{"rows": [{"id", "prompt" or "messages"}], "draws": [{"model": 0, "sampling": {...}, "sample": 0}], "seed": 0}; its answer is
{"replies": [[{"text", "ids", "has_ended", "model", "sampling"}, ...] for each row], "prompt_ids": [...]} or {"error": "..."}.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tuningfork.errors import TuningforkError

if TYPE_CHECKING:
    from tuningfork.model.backbone import Backbone


def main(models: Sequence[str]) -> int:
    """Load the models, say so, answer requests until standard input ends."""
    out = sys.stdout
    sys.stdout = sys.stderr  # what a library prints is no answer
    try:
        backbones = _load(models)
    except TuningforkError as error:
        _write(out, {"error": str(error)})
        return error.exit_code
    _write(out, {"ready": True})
    for line in sys.stdin:
        try:
            _write(out, answer(backbones, json.loads(line)))
        except TuningforkError as error:
            _write(out, {"error": str(error)})
    return 0


def answer(backbones: Sequence[Backbone], request: Mapping[str, Any]) -> dict[str, Any]:
    """Every draw of every row. DataError for a prompt that does not fit the context."""
    from tuningfork.evals.answers import make_prompts, to_answers
    from tuningfork.randomness import derive_seed
    from tuningfork.rollout.rollout import sample
    from tuningfork.rollout.sampler import LocalEngine
    from tuningfork.rollout.settings import SamplingSettings

    rows = request["rows"]
    replies: list[list[dict[str, Any]]] = [[] for _ in rows]
    prompt_ids: list[list[int]] = []
    for draw in request["draws"]:
        backbone = backbones[draw["model"]]
        rollouts = sample(
            LocalEngine(backbone),
            make_prompts(backbone, rows),
            SamplingSettings.model_validate(draw["sampling"]),
            seed=derive_seed(request["seed"], "replies", draw["model"]),
            first_sample=draw["sample"],
        )
        prompt_ids = [list(rollout.prompt_ids) for rollout in rollouts]
        for group, rollout, found in zip(replies, rollouts, to_answers(backbone, rollouts), strict=True):
            group.append(
                {
                    "text": found.text,
                    "ids": list(rollout.response_ids),
                    "has_ended": found.has_ended,
                    "model": draw["model"],
                    "sampling": draw["sampling"],
                }
            )
    return {"replies": replies, "prompt_ids": prompt_ids}


def _load(models: Sequence[str]) -> list[Backbone]:
    from tuningfork.runtime import start_runtime

    runtime = start_runtime()
    from tuningfork.model.loading import load_backbone

    return [load_backbone(model, runtime) for model in models]


def _write(out: Any, message: Mapping[str, Any]) -> None:
    out.write(json.dumps(message) + "\n")
    out.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
