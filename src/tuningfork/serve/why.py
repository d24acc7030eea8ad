"""Why did this answer change: one prompt, before and after, with the KL of each token and the reward of each answer."""

from __future__ import annotations

import math
from pathlib import Path

from tuningfork.errors import RunError
from tuningfork.serve.models import find_models
from tuningfork.serve.terminal import visible


def why(run: Path, prompt: str) -> None:
    """Print both answers to `prompt`, token by token.

    For each token of an answer: its probability before and after, and log(after / before) in nats, which for the answer after
    sums to its share of the KL. Below each answer the reward's score of it.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from tuningfork.rollout.settings import SamplingSettings
    from tuningfork.runtime import start_runtime

    models = find_models(run)
    if models.before is None:
        raise RunError(f"{run} has only one model; `why` compares a model before and after")
    runtime = start_runtime()
    from tuningfork.evals.answers import answer_prompts
    from tuningfork.evals.logprobs import response_logprobs
    from tuningfork.model.loading import load_backbone
    from tuningfork.reward.base import Item
    from tuningfork.reward.kinds.learned import open_folder

    sampling = SamplingSettings.model_validate(models.settings.get("sampling") or {"max_new_tokens": 40})
    prompt = prompt if prompt.endswith(models.prompt_ending) else prompt + models.prompt_ending
    before, after = load_backbone(models.before, runtime), load_backbone(models.after, runtime)
    reward = open_folder(models.reward, runtime, after.tokenizer) if models.reward else None
    console = Console()
    row = {"id": "why", "prompt": prompt}
    for name, model in (("before", before), ("after", after)):
        found = answer_prompts(model, [row], sampling, seed=0, purpose="why")
        rollout = found.rollouts[0]
        (old,), (new,) = response_logprobs(before, [rollout]), response_logprobs(after, [rollout])
        table = Table(
            "token", "p before", "p after", "log ratio (nats)", title=f"{name}: {visible(found.answers[0].text)}"
        )
        for token, a, b in zip(rollout.response_ids, old.tolist(), new.tolist(), strict=True):
            shift = b - a
            style = "bold" if abs(shift) > 0.5 else ""
            text = visible(str(model.tokenizer.decode([token])))  # special tokens too
            table.add_row(Text(repr(text), style), f"{math.exp(a):.3f}", f"{math.exp(b):.3f}", f"{shift:+.3f}")
        table.add_row("sum", "", "", f"{float((new - old).sum()):+.3f}")
        console.print(table)
        if reward:
            (score,) = reward.score(
                [Item(prompt, found.answers[0].text, row, rollout.prompt_ids, rollout.response_ids)]
            )
            parts = ", ".join(f"{part} {value:+.3f}" for part, value in score.parts.items())
            total = "none" if score.total is None else f"{score.total:+.3f}"
            console.print(f"reward of this answer: {total}" + (f" ({parts})" if parts else ""))
