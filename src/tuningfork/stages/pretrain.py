"""Train a small model and its tokenizer from scratch on plain text, or go on training one that exists."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from pydantic import Field, model_validator

from tuningfork.data.reading import ReadingSettings
from tuningfork.evals.knowledge import KnowledgeSettings, check_knowledge
from tuningfork.model.settings import AdapterSettings, Full, ModelSource, ScratchModel
from tuningfork.settings import Input, Settings
from tuningfork.stage import StageContext
from tuningfork.train.settings import Batching, OptimizerSettings, Packing

if TYPE_CHECKING:
    from tuningfork.data.adapters import Placed
    from tuningfork.data.reader import Dataset
    from tuningfork.model.backbone import Backbone
    from tuningfork.streams.streamed import Streamed


class StageSettings(Settings):
    """Settings of the stage `pretrain`."""

    model: ModelSource
    """`scratch: {...}` for a new model, or a folder or hub id of one to go on training"""
    data: Input
    """text: a file or folder of rows `{"text": ...}` or of plain text"""
    reading: ReadingSettings = ReadingSettings()
    """what to make of the rows of `data` and `heldout`"""
    streaming: bool = False
    """read rows from disk as they are needed, for data larger than memory; audit and tokenizer see a sample of them"""
    heldout: Input | None = None
    """text file that the model never trains on, for perplexity and bits per byte"""
    adapter: AdapterSettings = Full()
    """what to train of a model that exists; a new one trains whole"""
    steps: int = Field(default=400, ge=0)
    """optimizer steps; 0 only loads the model and measures it"""
    batch_rows: int = Field(default=64, ge=1)
    """rows of text per step"""
    length: int = Field(default=64, ge=2)
    """tokens per row"""
    packing: Packing = "concatenate"
    """how texts fill rows: `concatenate` lets them see each other, `best_fit` and `none` do not"""
    batching: Batching = "random"
    """which rows share a step; `length_grouped` is for rows of different lengths"""
    micro_batch: int | None = Field(default=None, ge=1)
    """rows per forward pass; the gradient does not depend on it"""
    optimizer: OptimizerSettings = OptimizerSettings(learning_rate=2.5e-3, floor=0.03)
    """learning rate and its schedule"""
    knowledge: KnowledgeSettings | None = None
    """a check of what the model knows after this stage; its gate stops the run"""

    @model_validator(mode="after")
    def _every_setting_has_an_effect(self) -> Self:
        if self.packing == "concatenate" and self.batching != "random":
            raise ValueError("batching has no effect on rows of one length; set packing or remove it")
        return self


def run(stage: StageContext, settings: StageSettings) -> None:
    """Train, measure on held-out text, save."""
    from tuningfork.data.adapters import TEXT_SHAPES, texts_of
    from tuningfork.data.adapters import texts as read_texts
    from tuningfork.evals.perplexity import text_figures
    from tuningfork.model.saving import save_backbone, verify_saved
    from tuningfork.model.tree import parameter_tree
    from tuningfork.streams.streamed import open_streamed

    data = settings.reading.open(stage.inputs["data"].reference, TEXT_SHAPES)
    streamed = open_streamed(stage, data, "text") if settings.streaming else None
    documents = list(texts_of(streamed.sample) if streamed else read_texts(data))
    backbone = _make_backbone(stage, settings, [row["text"] for _, row in documents])
    stage.events.say(parameter_tree(backbone.model))
    if settings.steps:
        _train(stage, settings, backbone, data, documents, streamed)
    if settings.heldout:
        unseen = settings.reading.open(stage.inputs["heldout"].reference, TEXT_SHAPES)
        heldout = [row["text"] for _, row in read_texts(unseen)]
        stage.figures.update(text_figures(backbone, heldout, settings.length))
    if settings.knowledge:
        check_knowledge(stage, backbone, settings.knowledge)
    save_backbone(backbone, stage.out / "model")
    verify_saved(backbone, stage.out / "model")


def _train(
    stage: StageContext,
    settings: StageSettings,
    backbone: Backbone,
    data: Dataset,
    documents: list[Placed],
    streamed: Streamed | None,
) -> None:
    """Audit the documents (of streamed data a sample) and train."""
    from tuningfork.data.stage_audit import audit_stage
    from tuningfork.streams.streamed import StreamedText, forget_sample, text_pools
    from tuningfork.streams.text import TextStream, text_rows
    from tuningfork.train.loop import Loop

    rows = text_rows(backbone, [row["text"] for _, row in documents], settings.length, settings.packing)
    audit_stage(stage, data, documents, "text", backbone=backbone, token_rows=rows, is_packed=True)
    num_tokens = sum(len(row.ids) for row in rows)
    stage.events.say(f"{len(documents):,} texts, {num_tokens:,} tokens in {len(rows):,} rows")
    batches = {"batch_rows": settings.batch_rows, "batching": settings.batching}
    pools = None
    if streamed:
        forget_sample(data)
        pools = text_pools(backbone, streamed, length=settings.length, packing=settings.packing, **batches)
        packed_length = settings.length if settings.packing == "best_fit" else None
        stream = StreamedText(
            backbone, pools, name="text", micro_batch=settings.micro_batch, packed_length=packed_length
        )
    else:
        stream = TextStream(backbone, rows, name="text", seed=stage.seed, micro_batch=settings.micro_batch, **batches)
        if settings.packing != "concatenate":
            stage.figures["padding_share"] = stream.padding_share(settings.steps)
            stage.events.say(f"padding is {stage.figures['padding_share']:.0%} of all positions")
    Loop(stage, {"policy": backbone.model}, [stream], settings.optimizer, settings.steps, label="pretrain").run()
    if streamed and pools:
        streamed.report(stage, pools)


def _make_backbone(stage: StageContext, settings: StageSettings, texts: list[str]) -> Backbone:
    from tuningfork.model.loading import load_backbone, new_backbone
    from tuningfork.model.tokenizer import train_tokenizer

    if isinstance(settings.model, ScratchModel):
        scratch = settings.model.scratch
        return new_backbone(scratch, train_tokenizer(texts, scratch.vocabulary), stage.seed, stage.runtime)
    adapter = settings.adapter if settings.steps else None
    return load_backbone(stage.inputs["model"].reference, stage.runtime, adapter=adapter, seed=stage.seed)
