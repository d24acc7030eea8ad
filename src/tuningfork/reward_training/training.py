"""The training of one reward model, or of the members of an ensemble one after the other, and how they are saved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tuningfork.randomness import derive_seed
from tuningfork.reward.ensemble import write_ensemble
from tuningfork.reward_training import accepted_shapes, make_task
from tuningfork.reward_training.scoring import score_items

if TYPE_CHECKING:
    from torch import Tensor

    from tuningfork.model.backbone import Backbone
    from tuningfork.model.reward_model import RewardModel
    from tuningfork.reward.base import Item
    from tuningfork.reward_training.task import Task
    from tuningfork.stage import Events, StageContext

READY = "ready"
"""File that marks a trained member in the work folder."""


@dataclass
class Prepared:
    """What is settled before training: the data, the first trunk, and what the model found likely before it."""

    backbone: Backbone
    task: Task
    template: dict[str, Any]
    reference: list[Item] | None
    likelihood: list[tuple[float, int]]
    """log-probability under the model before training, and tokens, of each held-out answer"""

    def reference_scores(self, model: RewardModel) -> Tensor:
        """Scores of the texts on which the scale is fixed."""
        import torch

        return torch.tensor(score_items(model, self.reference or self.task.heldout.items))


def prepare(stage: StageContext, settings: Any) -> Prepared:
    """Read and hold out the data; nothing is trained yet."""
    from tuningfork.data.reward_inputs import RewardInputs

    source = stage.inputs["data"].reference
    data = settings.reading.open(source, accepted_shapes())
    backbone = _load(stage, settings, stage.seed)
    # Windows come from anywhere in a text, so neither BOS nor EOS stands around them.
    is_bare = data.shape == "labelled" and settings.labels
    template: dict[str, Any] = {"special_tokens": not is_bare, "form": "bare" if is_bare else settings.template}
    if is_bare:
        template["window"] = settings.labels.window[1]
    inputs = RewardInputs(backbone, template["form"])
    task = make_task(stage, settings, inputs, data)
    reference = _reference(stage, settings, inputs) if settings.reference else None
    likelihood = _likelihood(stage, backbone, task.heldout.items) if settings.card.likelihood else []
    return Prepared(backbone, task, template, reference, likelihood)


def train_members(stage: StageContext, settings: Any, prepared: Prepared) -> list[RewardModel]:
    """The trained models; those of a run that was cut are not trained again."""
    from tuningfork.model.reward_model import RewardModel
    from tuningfork.model.tree import parameter_tree

    models = []
    steps = max(1, round(settings.epochs * prepared.task.num_rows / settings.batch_rows))
    for number in range(settings.members):
        member, folder = _member(stage, settings, number, steps), stage.work / f"member-{number}"
        if (folder / READY).is_file():
            member.events.rewind(steps)
            models.append(RewardModel.load(folder / "model", stage.runtime))
            continue
        backbone = prepared.backbone if number == 0 else _load(stage, settings, member.seed)
        model = RewardModel.create(
            backbone,
            settings.pooling,
            seed=member.seed,
            template=prepared.template,
            init=settings.head_init,
            criteria=settings.criteria,
        )
        if number == 0:
            heads = {name: module for name, module in model.modules().items() if name != "policy"}
            stage.events.say(parameter_tree(backbone.model, **heads))
        _train(member, settings, prepared.task, model, steps)
        if settings.members > 1:
            model.save(folder / "model")
            (folder / READY).write_text("", encoding="utf-8")
        models.append(model)
    return models


def save(stage: StageContext, models: Sequence[RewardModel], fitness: dict[str, Any]) -> None:
    """Write `model/`: the reward model, or an ensemble's members below it."""
    for model in models:
        model.fitness = fitness
    if len(models) == 1:
        models[0].save(stage.out / "model")
        return
    names = [f"member-{number}" for number in range(len(models))]
    for name, model in zip(names, models, strict=True):
        model.save(stage.out / "model" / name)
    write_ensemble(stage.out / "model", names)


def _load(stage: StageContext, settings: Any, seed: int) -> Backbone:
    from tuningfork.model.loading import load_backbone

    adapter = settings.adapter if settings.adapter.kind != "frozen" else None
    return load_backbone(stage.inputs["model"].reference, stage.runtime, adapter=adapter, seed=seed)


def _train(stage: StageContext, settings: Any, task: Task, model: RewardModel, steps: int) -> None:
    from tuningfork.streams.text import replay_stream
    from tuningfork.train.loop import Loop

    streams: list[Any] = [task.stream(model, stage.seed)]
    if settings.replay:
        source = stage.inputs["replay.data"].reference
        streams.append(replay_stream(model.backbone, settings.replay, source, stage.seed))
    Loop(stage, model.modules(), streams, settings.optimizer, steps, label="reward").run()


def _member(stage: StageContext, settings: Any, number: int, steps: int) -> StageContext:
    """The stage as one member sees it: a seed, a work folder and steps of its own. A single model sees the stage itself."""
    if settings.members == 1:
        return stage
    seed = stage.seed if number == 0 else derive_seed(stage.seed, "member", number)
    work = stage.work / f"member-{number}"
    work.mkdir(exist_ok=True)
    return replace(stage, seed=seed, work=work, events=_LaterEvents(stage.events, number * steps))


@dataclass(frozen=True)
class _LaterEvents:
    """Events of a member, its steps counted on from those of the members before it."""

    events: Events
    offset: int

    def log(self, *, step: int, **metrics: Any) -> None:
        self.events.log(step=self.offset + step, **metrics)

    def rewind(self, step: int) -> None:
        self.events.rewind(self.offset + step)

    def say(self, text: str) -> None:
        self.events.say(text)

    def progress(self, total: float, label: str, unit: str = "step", done: float = 0) -> Any:
        return self.events.progress(total, label, unit, done)


def _likelihood(stage: StageContext, backbone: Backbone, items: Sequence[Item]) -> list[tuple[float, int]]:
    """What the model finds likely before it is trained: the baseline that costs nothing."""
    from tuningfork.streams.judgements import JudgedText
    from tuningfork.streams.preferences import text_logprobs

    texts = []
    for item in items:
        prompt = list(item.prompt_ids or backbone.start_ids)
        ids = list(item.response_ids) if item.response_ids is not None else backbone.encode([item.response])[0]
        room = backbone.max_length - len(prompt)
        start = prompt or ids[:1]  # something has to stand before the first token that is predicted
        texts.append(JudgedText(start, ids[len(start) - len(prompt) : room]))
    logprobs = text_logprobs(backbone, texts, stage.runtime, batch_rows=32).tolist()
    return [(value, max(1, len(text.response))) for value, text in zip(logprobs, texts, strict=True)]


def _reference(stage: StageContext, settings: Any, inputs: Any) -> list[Item]:
    """Answers of the file `reference`."""
    from tuningfork.data.adapters import RANKING_SHAPES, prompt_text
    from tuningfork.data.judgements import read_judgements
    from tuningfork.reward.base import Item

    shapes = (*RANKING_SHAPES, "prompt_completion", "labelled")
    data = settings.reading.open(stage.inputs["reference"].reference, shapes)
    if data.shape in RANKING_SHAPES:
        return [Item(j.prompt, candidate.text) for j in read_judgements(data) for candidate in j.candidates]
    if data.shape == "labelled":
        return [Item("", row["text"]) for _, row in data.placed()]
    return [Item(prompt_text(row["prompt"]), row["completion"]) for _, row in data.placed()]
