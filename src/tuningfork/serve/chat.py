"""Talk to a run's model in the terminal, before and after side by side on request."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuningfork.errors import DataError
from tuningfork.serve.models import find_models
from tuningfork.serve.terminal import visible

if TYPE_CHECKING:
    from tuningfork.model.backbone import Backbone
    from tuningfork.rollout.settings import SamplingSettings


def chat(run: Path, *, side_by_side: bool = False, greedy: bool = False, max_new_tokens: int | None = None) -> None:
    """Read prompts from standard input until it ends or says /quit; answer each.

    /both switches the side-by-side view on and off. A run that trained on conversations goes on with the one it is in,
    each model with its own answers, until /new; for any other run every prompt starts afresh.
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
        commands = "/both shows before and after, " + ("/new forgets what was said, " if models.talks else "")
        print(f"{run}: ask something. {commands}/quit ends.")
    turn = 0
    talk: dict[str, list[dict[str, str]] | None] = {name: [] if models.talks else None for name in ("before", "after")}
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
        if prompt.strip() == "/new" and models.talks:
            talk = {name: [] for name in talk}
            continue
        if not prompt.strip():
            continue
        turn += 1
        if not models.talks:
            prompt = prompt if prompt.endswith(models.prompt_ending) else prompt + models.prompt_ending
        try:
            if side_by_side and before:
                print(f"before  {visible(answer(before, prompt, sampling, turn, talk['before']))}")
                print(f"after   {visible(answer(after, prompt, sampling, turn, talk['after']))}")
            else:
                print(visible(answer(after, prompt, sampling, turn, talk["after"])))
        except DataError as error:
            print(error)


def answer(
    backbone: Backbone, prompt: str, sampling: SamplingSettings, turn: int, talk: list[dict[str, str]] | None = None
) -> str:
    """One answer; equal turns draw equal random numbers from every model, so that two models can be compared.

    With `talk`, the conversation so far, the prompt and its answer are added to it.
    """
    from tuningfork.evals.answers import answer_prompts

    row: dict[str, Any] = {"id": f"chat {turn}", "prompt": prompt}
    if talk is not None:
        row = {"id": f"chat {turn}", "messages": [*talk, {"role": "user", "content": prompt}]}
    (found,) = answer_prompts(backbone, [row], sampling, seed=0, purpose="chat").answers
    if talk is not None:
        # the template puts its own blanks around an answer, which the model has written too
        talk += [row["messages"][-1], {"role": "assistant", "content": found.text.strip()}]
    return found.text.strip() + ("" if found.has_ended else " ...")
