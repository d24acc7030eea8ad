"""Talk to a run's model in the terminal, before and after side by side on request."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tuningfork.errors import DataError
from tuningfork.serve.models import find_models
from tuningfork.serve.terminal import visible

if TYPE_CHECKING:
    from tuningfork.model.backbone import Backbone
    from tuningfork.rollout.settings import SamplingSettings


def chat(run: Path, *, side_by_side: bool = False, greedy: bool = False, max_new_tokens: int | None = None) -> None:
    """Read prompts from standard input until it ends or says /quit; answer each.

    /both switches the side-by-side view on and off. Every prompt starts afresh: the models of the shipped recipes answer
    single questions.
    """
    from tuningfork.rollout.settings import SamplingSettings
    from tuningfork.runtime import start_runtime

    models = find_models(run)
    runtime = start_runtime()
    from tuningfork.model.loading import load_backbone

    settings = dict(models.settings.get("sampling") or {"max_new_tokens": 40})
    if greedy:
        settings = {"max_new_tokens": settings["max_new_tokens"], "greedy": True}
    if max_new_tokens:
        settings["max_new_tokens"] = max_new_tokens
    sampling = SamplingSettings.model_validate(settings)
    after = load_backbone(models.after, runtime)
    before = load_backbone(models.before, runtime) if models.before else None
    is_terminal = sys.stdin.isatty()
    if is_terminal:
        print(f"{run}: ask something. /both shows before and after, /quit ends.")
    turn = 0
    while True:
        try:
            prompt = input("> " if is_terminal else "")
        except (EOFError, KeyboardInterrupt):
            print()
            return
        if prompt.strip() == "/quit":
            return
        if prompt.strip() == "/both":
            side_by_side = not side_by_side
            print("before and after" if side_by_side and before else "after only")
            continue
        if not prompt.strip():
            continue
        turn += 1
        prompt = prompt if prompt.endswith(models.prompt_ending) else prompt + models.prompt_ending
        try:
            if side_by_side and before:
                print(f"before  {visible(answer(before, prompt, sampling, turn))}")
                print(f"after   {visible(answer(after, prompt, sampling, turn))}")
            else:
                print(visible(answer(after, prompt, sampling, turn)))
        except DataError as error:
            print(error)


def answer(backbone: Backbone, prompt: str, sampling: SamplingSettings, turn: int) -> str:
    """One answer; equal turns draw equal random numbers from every model, so that two models can be compared."""
    from tuningfork.evals.answers import answer_prompts

    row = {"id": f"chat {turn}", "prompt": prompt}
    (found,) = answer_prompts(backbone, [row], sampling, seed=0, purpose="chat").answers
    return found.text.strip() + ("" if found.has_ended else " ...")
