"""Supervised fine-tuning: learn to answer as demonstrations do, and keep what was known by replaying earlier text."""

from __future__ import annotations

from pydantic import Field

from tuningfork.data.reading import ReadingSettings
from tuningfork.evals.knowledge import KnowledgeSettings, check_knowledge
from tuningfork.model.settings import AdapterSettings, Full
from tuningfork.settings import Input, Settings
from tuningfork.stage import StageContext
from tuningfork.train.settings import OptimizerSettings, ReplaySettings


class StageSettings(Settings):
    """Settings of the stage `sft`."""

    model: Input = "pretrain/model"
    """model to start from"""
    data: Input
    """demonstrations: rows of any shape with answers to learn, e.g. `{"prompt", "completion"}` or `{"messages": [...]}`"""
    reading: ReadingSettings = ReadingSettings()
    """what to make of the rows of `data`"""
    adapter: AdapterSettings = Full()
    """what to train"""
    steps: int | None = Field(default=None, ge=1)
    """optimizer steps; empty means `epochs` passes over the data"""
    epochs: float | None = Field(default=None, gt=0)
    """passes over the data, where `steps` is empty; 1 when both are"""
    batch_rows: int = Field(default=64, ge=1)
    """demonstrations per step"""
    micro_batch: int | None = Field(default=None, ge=1)
    """rows per forward pass; the gradient does not depend on it"""
    optimizer: OptimizerSettings = OptimizerSettings(learning_rate=3e-4)
    """learning rate and its schedule"""
    replay: ReplaySettings | None = None
    """earlier text trained beside the demonstrations; without it a narrow set makes the model forget"""
    knowledge: KnowledgeSettings | None = None
    """a check of what the model knows after this stage; its gate stops the run"""


def run(stage: StageContext, settings: StageSettings) -> None:
    """Train on demonstrations (and replay), check, save."""
    from tuningfork.data.adapters import DEMONSTRATION_SHAPES, demonstrations, uniform
    from tuningfork.data.demonstrations import demonstration_rows
    from tuningfork.data.stage_audit import audit_stage
    from tuningfork.errors import RecipeError
    from tuningfork.model.loading import load_backbone
    from tuningfork.model.saving import save_backbone, verify_saved
    from tuningfork.model.tree import parameter_tree
    from tuningfork.streams.text import TextStream, replay_stream
    from tuningfork.train.loop import Loop

    if settings.steps is not None and settings.epochs is not None:
        raise RecipeError("give either steps or epochs, not both: steps would win and epochs have no effect")
    source = stage.inputs["data"].reference
    backbone = load_backbone(stage.inputs["model"].reference, stage.runtime, adapter=settings.adapter, seed=stage.seed)
    stage.events.say(parameter_tree(backbone.model))
    data = settings.reading.open(source, DEMONSTRATION_SHAPES)
    demonstrated = uniform(demonstrations(data))
    rows = demonstration_rows(backbone, [row for _, row in demonstrated], source)
    shape = "conversation" if "messages" in demonstrated[0][1] else "prompt_completion"
    audit_stage(stage, data, demonstrated, shape, backbone=backbone, token_rows=rows)
    num_targets = sum(sum(row.is_target) for row in rows)
    share = num_targets / sum(len(row.ids) for row in rows)
    stage.events.say(f"{len(rows):,} demonstrations, {num_targets:,} target tokens ({share:.0%} of all tokens)")
    steps = settings.steps or max(1, round((settings.epochs or 1.0) * len(rows) / settings.batch_rows))
    streams = [
        TextStream(
            backbone,
            rows,
            name="answers",
            batch_rows=settings.batch_rows,
            seed=stage.seed,
            micro_batch=settings.micro_batch,
        )
    ]
    if settings.replay:
        streams.append(replay_stream(backbone, settings.replay, stage.inputs["replay.data"].reference, stage.seed))
    Loop(stage, {"policy": backbone.model}, streams, settings.optimizer, steps, label="sft").run()
    stage.figures.update(demonstrations=len(rows), supervised_share=share)
    if settings.knowledge:
        check_knowledge(stage, backbone, settings.knowledge)
    save_backbone(backbone, stage.out / "model")
    verify_saved(backbone, stage.out / "model")
