"""Supervised fine-tuning: learn to answer as demonstrations do, and keep what was known by replaying earlier text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from tuningfork.data.reading import ReadingSettings
from tuningfork.evals.heldout import HeldoutSettings
from tuningfork.evals.knowledge import KnowledgeSettings, check_knowledge
from tuningfork.evals.monitor import WatchSettings
from tuningfork.evals.stopping import StopProbeSettings, check_stopping
from tuningfork.model.settings import AdapterSettings, ChatSettings, Full
from tuningfork.settings import Input, Settings
from tuningfork.stage import StageContext
from tuningfork.train.settings import Batching, BudgetSeconds, OptimizerSettings, ReplaySettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tuningfork.data.adapters import Placed
    from tuningfork.data.demonstrations import Demonstrations
    from tuningfork.data.raw import Row
    from tuningfork.data.reader import Dataset
    from tuningfork.data.rows import TokenRow
    from tuningfork.evals.heldout import HeldoutLook
    from tuningfork.model.backbone import Backbone


class StageSettings(Settings):
    """Settings of the stage `sft`."""

    model: Input = "pretrain/model"
    """model to start from"""
    data: Input
    """demonstrations: rows of any shape with answers to learn, e.g. `{"prompt", "completion"}` or `{"messages": [...]}`"""
    reading: ReadingSettings = ReadingSettings()
    """what to make of the rows of `data`"""
    chat: ChatSettings = ChatSettings()
    """how conversations are rendered"""
    too_long: Literal["refuse", "skip"] = "refuse"
    """what happens to a demonstration longer than the context; skipped ones are counted, nothing is ever cut"""
    adapter: AdapterSettings = Full()
    """what to train"""
    steps: int | None = Field(default=None, ge=1)
    """optimizer steps; empty means `epochs` passes over the data"""
    epochs: float | None = Field(default=None, gt=0)
    """passes over the data, where `steps` is empty; 1 when both are and there is no budget"""
    budget: BudgetSeconds = None
    """seconds of computing (a CPU's, over the number of threads), instead of `steps` and `epochs`; how many steps fit depends
    on the machine, so such a run is not bit-exact"""
    spent_before: Input | None = None
    """artifact of a stage whose time is taken from the budget too, such as `rejection`"""
    batch_rows: int = Field(default=64, ge=1)
    """rows per step: demonstrations, or packed rows of several"""
    packing: Literal["none", "best_fit"] = "none"
    """`best_fit` puts several demonstrations into a row, without any seeing another"""
    length: int | None = Field(default=None, ge=2)
    """tokens of a packed row; empty means the model's context"""
    batching: Batching = "random"
    """which rows share a step"""
    micro_batch: int | None = Field(default=None, ge=1)
    """rows per forward pass; the gradient does not depend on it"""
    optimizer: OptimizerSettings = OptimizerSettings(learning_rate=3e-4)
    """learning rate and its schedule"""
    replay: ReplaySettings | None = None
    """earlier text trained beside the demonstrations; without it a narrow set makes the model forget"""
    heldout: HeldoutSettings | None = None
    """demonstrations that are not trained on: their loss, sampled answers, and which weights are kept"""
    monitor: WatchSettings | None = None
    """what is looked at during training, as in the stage `rl`: gold judge, proxy, KL; what is kept, and what ends it"""
    stop_probe: StopProbeSettings | None = None
    """a check that the model ends its answers; its gate stops the run"""
    knowledge: KnowledgeSettings | None = None
    """a check of what the model knows after this stage; its gate stops the run"""

    @model_validator(mode="after")
    def _every_setting_has_an_effect(self) -> Self:
        if self.length is not None and self.packing == "none":
            raise ValueError("length is that of packed rows; set packing: best_fit or remove it")
        if self.budget is not None and (self.steps is not None or self.epochs is not None):
            raise ValueError("steps and epochs have no effect with a budget; give one of them")
        if self.spent_before is not None and self.budget is None:
            raise ValueError("spent_before has no effect without a budget")
        if self.heldout and self.monitor and self.heldout.keep == self.monitor.keep == "best":
            raise ValueError("heldout.keep and monitor.keep both choose the weights; set one of them to last")
        return self


def run(stage: StageContext, settings: StageSettings) -> None:
    """Train on demonstrations (and replay), look at held-out ones, check, save."""
    from tuningfork.errors import RecipeError
    from tuningfork.evals.monitor import watch
    from tuningfork.model.loading import load_backbone
    from tuningfork.model.saving import save_backbone, verify_saved
    from tuningfork.model.tree import count_parameters, parameter_tree
    from tuningfork.streams.text import TextStream, replay_stream
    from tuningfork.train.advice import learning_rate_advice
    from tuningfork.train.budget import open_budget
    from tuningfork.train.loop import Hook, Loop

    if settings.steps is not None and settings.epochs is not None:
        raise RecipeError("give either steps or epochs, not both: steps would win and epochs have no effect")
    reference = stage.inputs["model"].reference
    backbone = load_backbone(reference, stage.runtime, adapter=settings.adapter, chat=settings.chat, seed=stage.seed)
    stage.events.say(parameter_tree(backbone.model))
    num_parameters, rate = count_parameters(backbone.model).total, settings.optimizer.learning_rate
    stage.events.say(learning_rate_advice(rate, num_parameters, settings.adapter.kind))
    demonstrated, heldout, data = _read(stage, settings)
    rows = _training_rows(stage, settings, backbone, data, demonstrated, heldout)
    one_pass = max(1, round((settings.epochs or 1.0) * len(rows) / settings.batch_rows))
    steps = settings.steps or one_pass
    main = TextStream(
        backbone,
        rows,
        name="answers",
        batch_rows=settings.batch_rows,
        seed=stage.seed,
        micro_batch=settings.micro_batch,
        batching=settings.batching,
    )
    stage.figures["padding_share"] = main.padding_share(steps)
    stage.events.say(f"padding is {stage.figures['padding_share']:.0%} of all positions")
    streams = [main]
    if settings.replay:
        streams.append(replay_stream(backbone, settings.replay, stage.inputs["replay.data"].reference, stage.seed))
    look = _heldout_look(stage, settings, backbone, heldout)
    monitor = watch(stage, settings.monitor, backbone) if settings.monitor else None
    budget = open_budget(settings.budget, stage.runtime.device, before=_spent_before(stage, settings))
    modules, num_steps = {"policy": backbone.model}, steps if budget is None else None
    loop = Loop(stage, modules, streams, settings.optimizer, num_steps, label="sft", budget=budget)
    loop.hooks = [Hook(look.settings.every, look)] if look else []
    if monitor:
        loop.hooks = [*loop.hooks, monitor.settings.hook(monitor, has_budget=budget is not None)]
        loop.is_over = monitor.is_over
    loop.run()
    if look:
        look.finish(loop.last_step)
    if monitor:
        monitor.finish(loop.last_step)
    if budget:
        stage.figures.update(spent_seconds=budget.spent, optimizer_steps=loop.last_step)
    if settings.stop_probe:
        check_stopping(stage, backbone, settings.stop_probe)
    if settings.knowledge:
        check_knowledge(stage, backbone, settings.knowledge)
    save_backbone(backbone, stage.out / "model")
    verify_saved(backbone, stage.out / "model")


def _spent_before(stage: StageContext, settings: StageSettings) -> float:
    """Seconds of the budget that an earlier stage spent."""
    from tuningfork.errors import RecipeError

    if settings.spent_before is None:
        return 0.0
    spent = stage.inputs["spent_before"].manifest.get("figures", {}).get("spent_seconds")
    if spent is None:
        raise RecipeError(f"spent_before: {settings.spent_before} does not say what it spent; name a stage `rejection`")
    return float(spent)


def _read(stage: StageContext, settings: StageSettings) -> tuple[list[Placed], list[Placed], Dataset]:
    """Demonstrations, held-out ones in the same form (none where none are given), and the data set of the former."""
    from tuningfork.data.adapters import DEMONSTRATION_SHAPES, alike, demonstrations, uniform

    data = settings.reading.open(stage.inputs["data"].reference, DEMONSTRATION_SHAPES)
    demonstrated = uniform(demonstrations(data))
    if settings.heldout is None or not demonstrated:
        return demonstrated, [], data
    unseen = settings.reading.open(stage.inputs["heldout.data"].reference, DEMONSTRATION_SHAPES)
    return demonstrated, alike(uniform(demonstrations(unseen)), demonstrated, unseen.source), data


def _training_rows(
    stage: StageContext,
    settings: StageSettings,
    backbone: Backbone,
    data: Dataset,
    demonstrated: Sequence[Placed],
    heldout: Sequence[Placed],
) -> list[TokenRow]:
    """Rows of the demonstrations, packed if asked for; what they are and what became of them is said and recorded."""
    from tuningfork.data.packing import pack_rows
    from tuningfork.data.stage_audit import audit_stage
    from tuningfork.errors import RecipeError
    from tuningfork.model.backbone import UNLIMITED

    found = _rendered(settings, backbone, [row for _, row in demonstrated], data.source)
    shape = "conversation" if found.is_chat else "prompt_completion"
    audit_stage(stage, data, demonstrated, shape, backbone=backbone, token_rows=found.rows, heldout=heldout)
    if not found.is_chat and settings.chat != ChatSettings():
        raise RecipeError("chat has no effect: the data are prompts and completions, not conversations; remove it")
    num_targets = sum(sum(row.is_target) for row in found.rows)
    share = num_targets / sum(len(row.ids) for row in found.rows)
    stage.events.say(f"{len(found.rows):,} demonstrations, {num_targets:,} target tokens ({share:.0%} of all tokens)")
    for note in (*backbone.notes, *found.notes):
        stage.events.say(note)
    if (
        found.is_chat
        and settings.adapter.kind == "lora"
        and settings.chat.template == "own"
        and not settings.adapter.tokens
    ):
        stage.events.say(
            "the rows of the template's control tokens stay as they are; if this model never saw them (it is a base "
            "model), name them under adapter.tokens"
        )
    kind = "conversation" if found.is_chat else "completion"
    stage.figures.update(demonstrations=len(found.rows), supervised_share=share, format=kind)
    if found.num_skipped:
        stage.figures["skipped"] = found.num_skipped
    if settings.packing == "none":
        return found.rows
    length = settings.length or backbone.max_length
    if length >= UNLIMITED or length > backbone.max_length:
        raise RecipeError(f"length has to be given and at most the model's context ({backbone.max_length} tokens)")
    packed = pack_rows(found.rows, length)
    stage.figures["packed_rows"] = len(packed)
    stage.events.say(
        f"packed into {len(packed):,} rows of at most {length} tokens; a step trains on "
        f"{settings.batch_rows * len(found.rows) / len(packed):.0f} demonstrations on average"
    )
    return packed


def _heldout_look(
    stage: StageContext, settings: StageSettings, backbone: Backbone, heldout: Sequence[Placed]
) -> HeldoutLook | None:
    from tuningfork.data.demonstrations import question_rows
    from tuningfork.evals.heldout import HeldoutLook

    if settings.heldout is None:
        return None
    source, rows = stage.inputs["heldout.data"].reference, [row for _, row in heldout]
    found = _rendered(settings, backbone, rows, source)
    for note in found.notes:
        stage.events.say(f"held-out: {note}")
    questions = question_rows(rows[: settings.heldout.samples], source)
    return HeldoutLook(stage, backbone, settings.heldout, found.rows, questions)


def _rendered(settings: StageSettings, backbone: Backbone, rows: Sequence[Row], source: str) -> Demonstrations:
    from tuningfork.data.demonstrations import read_demonstrations

    return read_demonstrations(backbone, rows, source, loss_on=settings.chat.loss_on, too_long=settings.too_long)
