"""Learn from preferences without a reward model: DPO and its relatives, from judgements or single labelled responses."""

from __future__ import annotations

from typing import Any

from tuningfork.methods import preference as preference_methods
from tuningfork.preference_training.settings import StageSettings
from tuningfork.stage import StageContext


def run(stage: StageContext, settings: StageSettings) -> None:
    """Train the policy on preferences, say what it did to likelihoods and lengths, save the merged model and its adapter."""
    from tuningfork.errors import RecipeError
    from tuningfork.evals.monitor import watch
    from tuningfork.model.loading import load_backbone
    from tuningfork.model.saving import save_backbone, verify_saved
    from tuningfork.model.tree import parameter_tree
    from tuningfork.preference_training.examples import read_examples, with_reference
    from tuningfork.preference_training.look import Look, judge
    from tuningfork.streams.preferences import PreferenceStream
    from tuningfork.streams.text import replay_stream
    from tuningfork.train.budget import open_budget, preparing
    from tuningfork.train.loop import Loop

    method = preference_methods.load(settings.method.name)
    needs = method.needs(settings.method)
    if needs.unpaired and (settings.soft_labels or settings.reliability):
        raise RecipeError(
            f"preference.soft_labels and reliability have no effect: {settings.method.name} learns from single responses"
        )
    backbone = load_backbone(stage.inputs["model"].reference, stage.runtime, adapter=settings.adapter, seed=stage.seed)
    stage.events.say(parameter_tree(backbone.model))
    train, heldout = read_examples(stage, settings, backbone, needs)
    # Before the loop restores a checkpoint the policy is still the model the stage started from: the reference.
    before = Look(stage, settings, backbone, heldout)
    monitor = watch(stage, settings.monitor, backbone) if settings.monitor else None
    budget = open_budget(settings.budget, stage.runtime.device)
    with preparing(budget, stage.work / "reference_seconds.json"):
        examples = with_reference(stage, backbone, train, needs)
    stream = PreferenceStream(
        backbone,
        method,
        settings.method,
        examples,
        batch_rows=settings.batch_rows,
        seed=stage.seed,
        runtime=stage.runtime,
        micro_batch=settings.micro_batch,
    )
    streams: list[Any] = [stream]
    if settings.replay:
        streams.append(replay_stream(backbone, settings.replay, stage.inputs["replay.data"].reference, stage.seed))
    steps = max(1, round((settings.epochs or 1.0) * len(train) / settings.batch_rows)) if budget is None else None
    modules = {"policy": backbone.model}
    loop = Loop(stage, modules, streams, settings.optimizer, steps, label="preference", budget=budget)
    if monitor:
        loop.hooks = [monitor.settings.hook(monitor, has_budget=budget is not None)]
        loop.is_over = monitor.is_over
    loop.run()
    if monitor:
        monitor.finish(loop.last_step)
    if budget:
        stage.figures.update(spent_seconds=budget.spent, optimizer_steps=loop.last_step)
    judge(stage, settings, before, Look(stage, settings, backbone, heldout), is_paired=not needs.unpaired)
    save_backbone(backbone, stage.out / "model")
    verify_saved(backbone, stage.out / "model")
