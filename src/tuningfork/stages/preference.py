"""Learn from preferences without a reward model: DPO and its relatives, from judgements or single labelled responses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from tuningfork.data.reading import ReadingSettings
from tuningfork.evals.monitor import WatchSettings
from tuningfork.methods import preference as preference_methods
from tuningfork.model.settings import AdapterSettings, Lora
from tuningfork.rollout.settings import SamplingSettings
from tuningfork.settings import Input, Settings
from tuningfork.stage import StageContext
from tuningfork.train.settings import BudgetSeconds, OptimizerSettings, ReplaySettings

if TYPE_CHECKING:
    from tuningfork.batch import PreferenceNeeds
    from tuningfork.data.judgements import Judgement
    from tuningfork.data.reader import Dataset
    from tuningfork.evals.preference import Measured
    from tuningfork.model.backbone import Backbone
    from tuningfork.streams.preferences import Example, Examples

MethodSettings = preference_methods.settings_choice()


class StageSettings(Settings):
    """Settings of the stage `preference`."""

    model: Input = "sft/model"
    """model to improve; as it is now it is also the reference"""
    data: Input
    """judgements, preference rows `{"prompt", "chosen", "rejected"}`, or for kto also `{"prompt", "completion", "label"}`"""
    reading: ReadingSettings = ReadingSettings()
    """what to make of the rows of `data`"""
    method: MethodSettings = Field(default={"name": "dpo"}, validate_default=True)  # pyright: ignore[reportInvalidTypeForm]
    """the method and its settings, e.g. `{name: dpo, beta: 0.1}`"""
    soft_labels: bool = False
    """whether a judgement's probability is learnt as such: p times the loss of its ranking, 1 - p times that of the other"""
    reliability: dict[Literal["person", "model", "rule", "simulated"], float] = Field(default_factory=dict)
    """kind of rater -> measured share of its judgements that are right, .5 to 1: labels become that much softer, so that raters
    of different worth can be learnt from together; kinds left out are taken at their word"""
    shuffle_labels: bool = False
    """a null check: chance says which response is the better one (or which single ones are good). A gain that is still there was
    not learnt from preferences"""
    adapter: AdapterSettings = Lora()
    """what to train"""
    heldout: Input | None = None
    """rows of the same kind to measure on, to other prompts than those of `data`; empty holds some of `data` out by root"""
    holdout_share: float = Field(default=0.1, gt=0, lt=1)
    """share of the roots whose preferences are held out to measure on, where `heldout` is empty"""
    epochs: float | None = Field(default=None, gt=0)
    """passes over the preferences; empty means 1, or as many as the budget holds"""
    budget: BudgetSeconds = None
    """seconds of computing (a CPU's, over the number of threads), reference log-probabilities included, instead of `epochs`;
    how many steps fit depends on the machine, so such a run is not bit-exact"""
    batch_rows: int = Field(default=64, ge=1)
    """pairs or responses per step"""
    micro_batch: int | None = Field(default=None, ge=1)
    """pairs or responses per forward pass; the gradient does not depend on it"""
    optimizer: OptimizerSettings = OptimizerSettings(learning_rate=5e-5, schedule="linear", warmup=0.1, floor=0.0)
    """learning rate and its schedule"""
    replay: ReplaySettings | None = None
    """earlier text trained beside the preferences, which keeps what the model knows"""
    minimum_accuracy: float = Field(default=0.5, ge=0, le=1)
    """least share of held-out comparisons in the right order"""
    sampling: SamplingSettings = SamplingSettings(max_new_tokens=40)
    """how the answers are drawn whose lengths are compared before and after"""
    answers: int = Field(default=64, ge=1)
    """held-out prompts that are answered for that"""
    monitor: WatchSettings | None = None
    """what is looked at during training, as in the stage `rl`: gold judge, proxy, KL; what is kept, and what ends it"""

    @model_validator(mode="after")
    def _every_setting_has_an_effect(self) -> Self:
        if self.budget is not None and self.epochs is not None:
            raise ValueError("epochs has no effect with a budget; give one of them")
        return self

    @field_validator("reliability")
    @classmethod
    def _is_no_worse_than_chance(cls, value: dict[str, float]) -> dict[str, float]:
        if any(not 0.5 <= share <= 1 for share in value.values()):
            raise ValueError("a reliability lies between .5, which is chance, and 1")
        return value


def run(stage: StageContext, settings: StageSettings) -> None:
    """Train the policy on preferences, say what it did to likelihoods and lengths, save the merged model and its adapter."""
    from tuningfork.errors import RecipeError
    from tuningfork.evals.monitor import watch
    from tuningfork.model.loading import load_backbone
    from tuningfork.model.saving import save_backbone, verify_saved
    from tuningfork.model.tree import parameter_tree
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
    train, heldout = _examples(stage, settings, backbone, needs)
    # Before the loop restores a checkpoint the policy is still the model the stage started from: the reference.
    before = _Look(stage, settings, backbone, heldout)
    monitor = watch(stage, settings.monitor, backbone) if settings.monitor else None
    budget = open_budget(settings.budget, stage.runtime.device)
    with preparing(budget, stage.work / "reference_seconds.json"):
        examples = _with_reference(stage, backbone, train, needs)
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
    _judge(stage, settings, before, _Look(stage, settings, backbone, heldout), is_paired=not needs.unpaired)
    save_backbone(backbone, stage.out / "model")
    verify_saved(backbone, stage.out / "model")


def _examples(
    stage: StageContext, settings: StageSettings, backbone: Backbone, needs: PreferenceNeeds
) -> tuple[list[Example], list[Example]]:
    """Examples to train on and held-out ones, which share no prompt."""
    from tuningfork.errors import DataError

    found = _read(stage, settings, backbone, needs, "data")
    if settings.heldout is None:
        return _split(stage, settings, found)
    heldout = _read(stage, settings, backbone, needs, "heldout")
    asked = {tuple(example.texts[0].prompt) for example in heldout}
    shared = sum(tuple(example.texts[0].prompt) in asked for example in found)
    if shared:
        raise DataError(
            f"{shared:,} of {len(found):,} preferences of data have a prompt of heldout: accuracy on them would be memory; "
            "take them out of one of the two"
        )
    return _enough(stage, found, heldout)


def _read(
    stage: StageContext, settings: StageSettings, backbone: Backbone, needs: PreferenceNeeds, name: str
) -> list[Example]:
    """Examples of the input `name` that can be learnt from; what cannot is counted."""
    from tuningfork.data.adapters import RANKING_SHAPES
    from tuningfork.errors import RecipeError

    data = settings.reading.open(stage.inputs[name].reference, (*RANKING_SHAPES, "unpaired"))
    if data.shape != "unpaired":
        examples = _usable(stage, backbone, _compared(stage, settings, backbone, data, needs, name), name)
        return _shuffled(stage, examples) if settings.shuffle_labels and name == "data" else examples
    if not needs.unpaired:
        raise RecipeError(
            f"{data.source} holds single labelled responses; {settings.method.name} compares two: give judgements or "
            "rows with chosen and rejected, or use method: {name: kto}"
        )
    examples = _usable(stage, backbone, _labelled(stage, backbone, data, name), name)
    return _shuffled(stage, examples) if settings.shuffle_labels and name == "data" else examples


def _shuffled(stage: StageContext, examples: Sequence[Example]) -> list[Example]:
    """The examples with labels that say nothing: half of the pairs, drawn by seed, turned round; single ones' labels permuted."""
    from dataclasses import replace

    from tuningfork.randomness import numpy_generator

    stage.events.say("labels are shuffled: nothing can be learnt from these preferences, which is what is tried")
    draws = numpy_generator(stage.seed, "shuffled labels")
    if examples and len(examples[0].texts) > 1:
        turned = draws.permutation(len(examples)) % 2 == 1
        return [
            replace(one, texts=one.texts[::-1]) if turn else one for one, turn in zip(examples, turned, strict=True)
        ]
    order = draws.permutation(len(examples)).tolist()
    return [replace(one, is_desirable=examples[index].is_desirable) for one, index in zip(examples, order, strict=True)]


def _compared(
    stage: StageContext, settings: StageSettings, backbone: Backbone, data: Dataset, needs: PreferenceNeeds, name: str
) -> list[Example]:
    """Pairs of judgements, or both of their responses by themselves."""
    from tuningfork.data.judgements import read_judgements
    from tuningfork.data.stage_audit import audit_stage
    from tuningfork.streams.judgements import judged_texts
    from tuningfork.streams.preferences import Example

    judgements = read_judgements(data)
    if name == "data":
        audit_stage(stage, data, [(f"judgement {j.id}", j.as_ranking()) for j in judgements], "ranking")
    examples: list[Example] = []
    for judgement in judgements:
        texts = judged_texts(backbone, judgement)
        for better, worse in judgement.pairs():
            if needs.unpaired:
                examples.append(Example((texts[better],), judgement.root, True))
                examples.append(Example((texts[worse],), judgement.root, False))
            else:
                probability = _probability(settings, judgement)
                examples.append(Example((texts[better], texts[worse]), judgement.root, probability=probability))
    return examples


def _probability(settings: StageSettings, judgement: Judgement) -> float:
    """How probable it is that the ranking is right: what the rater said of it, as far as the rater can be relied on."""
    told = judgement.probability if settings.soft_labels and judgement.probability is not None else 1.0
    right = settings.reliability.get(judgement.rater.kind, 1.0)
    return told * right + (1 - told) * (1 - right)


def _labelled(stage: StageContext, backbone: Backbone, data: Dataset, name: str) -> list[Example]:
    """Single responses that were found good or bad."""
    from tuningfork.data.adapters import prompt_text
    from tuningfork.data.stage_audit import audit_stage
    from tuningfork.streams.judgements import JudgedText
    from tuningfork.streams.preferences import Example

    placed = list(data.placed())
    if name == "data":
        audit_stage(stage, data, placed, "unpaired")
    rows = [row for _, row in placed]
    names = [prompt_text(row["prompt"]) for row in rows]
    prompts, responses = backbone.encode(names), backbone.encode([row["completion"] for row in rows])
    examples = []
    for row, name, prompt, response in zip(rows, names, prompts, responses, strict=True):
        text = JudgedText([*backbone.start_ids, *prompt], [*response, backbone.eos_id] if response else [])
        examples.append(Example((text,), str(row.get("extra", {}).get("root", name)), row["label"]))
    return examples


def _usable(stage: StageContext, backbone: Backbone, examples: Sequence[Example], name: str) -> list[Example]:
    """Without examples that teach nothing or do not fit the context; how many there were is said and kept."""
    from tuningfork.errors import DataError

    kept, dropped = [], {"empty": 0, "without_prompt": 0, "too_long": 0, "identical": 0}
    for example in examples:
        if not all(text.response for text in example.texts):
            dropped["empty"] += 1
        elif not all(text.prompt for text in example.texts):
            dropped["without_prompt"] += 1  # an empty prompt and no BOS: nothing predicts the first token
        elif max(len(text.prompt) + len(text.response) for text in example.texts) > backbone.max_length:
            dropped["too_long"] += 1
        elif len(example.texts) > 1 and example.texts[0].response == example.texts[1].response:
            dropped["identical"] += 1
        else:
            kept.append(example)
    which = "" if name == "data" else f"{name}_"
    stage.figures.update({f"{which}dropped_{reason}": count for reason, count in dropped.items()})
    if any(dropped.values()):
        counts = ", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in dropped.items() if count)
        stage.events.say(f"left out of {len(examples)} preferences{' held out' if which else ''}: {counts}")
    if not kept:
        raise DataError(f"{stage.inputs[name].reference}: no preference can be learnt from ({dropped})")
    return kept


def _split(
    stage: StageContext, settings: StageSettings, examples: Sequence[Example]
) -> tuple[list[Example], list[Example]]:
    """Train and held-out examples, by root: the same roots that the stage `reward` holds out."""
    from tuningfork.randomness import derive_seed, uniforms

    train: list[Example] = []
    heldout: list[Example] = []
    for example in examples:
        draw = float(uniforms([derive_seed(stage.seed, "holdout", example.root)], 0)[0])
        (heldout if draw < settings.holdout_share else train).append(example)
    return _enough(stage, train, heldout)


def _enough(stage: StageContext, train: list[Example], heldout: list[Example]) -> tuple[list[Example], list[Example]]:
    """Both; DataError where there is nothing to train on or, of each kind, to measure on."""
    from tuningfork.errors import DataError

    kinds = {example.is_desirable for example in heldout}
    is_enough = len(kinds) == 2 if heldout and len(heldout[0].texts) == 1 else bool(heldout)
    if not train or not is_enough:
        raise DataError(
            f"{len(train)} preferences to train on and {len(heldout)} held out"
            f"{'' if is_enough or not heldout else ', all of one kind'}: give preferences of more roots, or another "
            "holdout_share"
        )
    stage.figures.update(train_rows=len(train), heldout_rows=len(heldout))
    return train, heldout


def _with_reference(
    stage: StageContext, backbone: Backbone, rows: Sequence[Example], needs: PreferenceNeeds
) -> Examples:
    """The examples with what the method needs of the reference."""
    from tuningfork.streams.preferences import Examples, kept_logprobs, pair_strangers

    if not needs.reference:
        return Examples(rows)
    key, runtime = stage.inputs["model"].key, stage.runtime
    texts = [text for row in rows for text in row.texts]
    reference = kept_logprobs(stage.work, key, backbone, texts, runtime).unflatten(0, (len(rows), -1))
    if not needs.unpaired:
        return Examples(rows, reference)
    good = sum(row.is_desirable for row in rows)
    stage.events.say(f"{good} desirable and {len(rows) - good} undesirable responses")
    strangers = pair_strangers(rows, stage.seed, backbone.max_length)
    return Examples(rows, reference, strangers, kept_logprobs(stage.work, key, backbone, strangers, runtime))


class _Look:
    """The policy as it is: log-probabilities of the held-out responses, and lengths of its own answers."""

    def __init__(
        self, stage: StageContext, settings: StageSettings, backbone: Backbone, heldout: Sequence[Example]
    ) -> None:
        from tuningfork.randomness import derive_seed
        from tuningfork.rollout.rollout import Prompt, sample
        from tuningfork.rollout.sampler import LocalEngine
        from tuningfork.streams.preferences import text_logprobs

        self.rows = heldout
        logprobs = iter(
            text_logprobs(backbone, [text for row in heldout for text in row.texts], stage.runtime).tolist()
        )
        self.logprobs = [[next(logprobs) for _ in row.texts] for row in heldout]
        room = backbone.max_length - settings.sampling.max_new_tokens
        found = {tuple(row.texts[0].prompt): row.root for row in heldout if len(row.texts[0].prompt) <= room}
        prompts = [Prompt(ids, str(index), root) for index, (ids, root) in enumerate(found.items())]
        seed = derive_seed(stage.seed, "preference", "answers")
        engine = LocalEngine(backbone, runtime=stage.runtime, say=stage.events.say)
        answers = sample(engine, prompts[: settings.answers], settings.sampling, seed=seed)
        self.answer_lengths = [len(answer.response_ids) for answer in answers]


def _judge(stage: StageContext, settings: StageSettings, before: _Look, after: _Look, *, is_paired: bool) -> None:
    """Figures of the held-out preferences, the verdict, and the gate."""
    from tuningfork.evals.preference import measure, verdict

    chosen, rejected = _measured(before, after)
    figures = measure(
        chosen,
        rejected,
        is_paired=is_paired,
        answers_before=before.answer_lengths,
        answers_after=after.answer_lengths,
        seed=stage.seed,
    )
    kind, text = verdict(figures)
    stage.figures.update(asdict(figures) | {"length_gap": figures.length_gap, "verdict": kind, "verdict_text": text})
    stage.events.say(text)
    stage.gate(
        "accuracy",
        figures.accuracy >= settings.minimum_accuracy,
        f"{figures.accuracy:.3f} of {figures.comparisons} held-out comparisons in the right order (at least "
        f"{settings.minimum_accuracy}); {kind}",
        accuracy=figures.accuracy,
    )


def _measured(before: _Look, after: _Look) -> tuple[list[Measured], list[Measured]]:
    """Chosen and rejected (desirable and undesirable) held-out responses with their likelihoods before and after."""
    from tuningfork.evals.preference import Measured

    chosen: list[Measured] = []
    rejected: list[Measured] = []
    for row, old, new in zip(before.rows, before.logprobs, after.logprobs, strict=True):
        for place, text in enumerate(row.texts):
            is_chosen = row.is_desirable if len(row.texts) == 1 else place == 0
            measured = Measured(old[place], new[place], len(text.response), row.root)
            (chosen if is_chosen else rejected).append(measured)
    return chosen, rejected
