"""Reinforcement learning from a reward: sample, score, compare with the reference, update; PPO and its relatives."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from tuningfork.evals.monitor import MonitorSettings
from tuningfork.evals.rehearsal import RehearsalSettings
from tuningfork.methods import policy as policy_methods
from tuningfork.methods.kl import Settings as KLSettings
from tuningfork.methods.kl import controller as kl_controller
from tuningfork.methods.shaping import Settings as ShapingSettings
from tuningfork.model.settings import AdapterSettings, Lora
from tuningfork.reward.settings import RewardSettings
from tuningfork.rollout.settings import SamplingSettings
from tuningfork.settings import Input, Settings
from tuningfork.stage import StageContext
from tuningfork.train.settings import BudgetSeconds, OptimizerSettings, ReplaySettings

if TYPE_CHECKING:
    from tuningfork.batch import Needs
    from tuningfork.evals.monitor import Monitor
    from tuningfork.methods.kl import AdaptiveKL, FixedKL
    from tuningfork.model.backbone import Backbone
    from tuningfork.model.heads import ValueHead
    from tuningfork.streams.collection import Plan, ScoredRollouts
    from tuningfork.streams.rollouts import Actor, RolloutStream
    from tuningfork.streams.scoring import ScoringSampler
    from tuningfork.train.loop import Loop

MethodSettings = policy_methods.settings_choice()

ITERATIONS = 50
"""Rounds of a run that says neither iterations nor budget."""


class ScaleSettings(Settings):
    """How raw scores are put on a common scale before anything else happens to them."""

    by: Literal["reference", "none"] = "reference"
    """`reference`: subtract the mean and divide by the deviation of scores of the reference's own answers"""
    mean: float | None = None
    """mean to subtract, instead of measuring it"""
    deviation: float | None = Field(default=None, gt=0)
    """deviation to divide by, instead of measuring it"""
    samples: int = Field(default=256, ge=8)
    """answers of the reference to measure on"""


class ValueSettings(Settings):
    """The critic: a head on the policy's trunk."""

    head: Literal["mlp", "linear"] = "mlp"
    """`mlp` is two layers of width 2d with ReLU, as in trlX; `linear` one layer; both start at value 0"""


class StageSettings(Settings):
    """Settings of the stage `rl`."""

    policy: Input = "sft/model"
    """model to improve; as it is now it is also the reference"""
    reward: RewardSettings
    """what to maximise"""
    prompts: Input
    """prompts: `{"id", "prompt", "root"}` rows"""
    method: MethodSettings = Field(default={"name": "ppo"}, validate_default=True)  # pyright: ignore[reportInvalidTypeForm]
    """the method and its settings, e.g. `{name: ppo, clip_range: 0.2}`"""
    adapter: AdapterSettings = Lora()
    """what to train; with LoRA the reference costs no memory"""
    value: ValueSettings = ValueSettings()
    """the critic, for methods that have one"""
    kl: KLSettings = KLSettings()
    """the price of leaving the reference"""
    scale_reward: ScaleSettings = ScaleSettings()
    """scale of the raw scores"""
    shaping: ShapingSettings = ShapingSettings()
    """missing EOS and clipping of scores"""
    iterations: int | None = Field(default=None, ge=1)
    """rounds of sampling and updating; empty means 50, or as many as the budget holds"""
    budget: BudgetSeconds = None
    """seconds of computing (a CPU's, over the number of threads) for sampling, scoring and updates, instead of `iterations`;
    how many rounds fit depends on the machine, so such a run is not bit-exact"""
    prompts_per_iteration: int = Field(default=48, ge=1)
    """prompts per round"""
    samples_per_prompt: int = Field(default=4, ge=1)
    """responses to each prompt"""
    chunk: int | None = Field(default=None, ge=1)
    """responses sampled and scored at a time, which bounds memory; the result does not depend on it; empty does all at once"""
    minibatches: int = Field(default=1, ge=1)
    """optimizer steps per epoch of a round"""
    micro_batch: int | None = Field(default=None, ge=1)
    """responses per forward pass; the gradient does not depend on it"""
    max_unscorable: float = Field(default=0.5, ge=0, le=1)
    """share of a round's responses that may have no score; they take no part in training, and more stop the run"""
    sampling: SamplingSettings = SamplingSettings(max_new_tokens=40)
    """how responses are drawn; filters would make the samples come from another distribution than the one trained"""
    optimizer: OptimizerSettings = OptimizerSettings(learning_rate=1e-4, eps=1e-5, schedule="constant", warmup=0.0)
    """learning rate and its schedule"""
    replay: ReplaySettings | None = None
    """earlier text trained beside the rewards (PPO-ptx)"""
    monitor: MonitorSettings | None = None
    """what is looked at during training, what is kept of it, and what ends it"""
    rehearsal: RehearsalSettings | None = RehearsalSettings()
    """the reward is tried out before training; a dead or hackable one stops the run. Empty leaves it out"""


def run(stage: StageContext, settings: StageSettings) -> None:
    """Train the policy against the reward; save the merged model, its adapter and the value head."""
    from tuningfork.data.jsonl import read_jsonl
    from tuningfork.evals.answers import make_prompts
    from tuningfork.model.loading import load_backbone
    from tuningfork.model.saving import save_backbone, verify_saved
    from tuningfork.reward import load_reward
    from tuningfork.streams.rollouts import Actor
    from tuningfork.streams.scoring import ScoringSampler
    from tuningfork.streams.text import replay_stream
    from tuningfork.train.budget import open_budget, preparing
    from tuningfork.train.loop import Loop

    needs = policy_methods.load(settings.method.name).needs(settings.method)
    _check(settings, needs)
    _warn_of_filters(stage, settings)
    rows = read_jsonl(stage.inputs["prompts"].reference, required=("id", "prompt"))
    backbone = load_backbone(stage.inputs["policy"].reference, stage.runtime, adapter=settings.adapter, seed=stage.seed)
    extra_bytes = backbone.keep_reference()
    value_head = _value_head(stage, settings, backbone) if needs.values else None
    reward = load_reward(settings.reward, stage.inputs, stage.runtime, backbone=backbone)
    heads = {"value": value_head} if value_head is not None else {}
    _say_models(stage, backbone, heads, extra_bytes)
    prompts = make_prompts(backbone, rows)
    sampler = ScoringSampler(
        stage,
        backbone,
        reward,
        settings.sampling,
        samples_per_prompt=settings.samples_per_prompt,
        chunk=settings.chunk,
        max_unscorable=settings.max_unscorable,
    )
    budget = open_budget(settings.budget, stage.runtime.device)
    with preparing(budget, stage.work / "scale_seconds.json"):
        scale = _reference_scale(stage, settings.scale_reward, sampler, prompts, rows)
    if not _may_begin(stage, settings, sampler, rows, prompts, scale):
        return
    plan = _plan(settings, has_budget=budget is not None)
    streams: list[Any] = [_rollouts(stage, settings, plan, Actor(backbone, value_head), sampler, prompts, rows, scale)]
    if settings.replay:
        streams.append(replay_stream(backbone, settings.replay, stage.inputs["replay.data"].reference, stage.seed))
    modules = {"policy": backbone.model, **heads}
    loop = Loop(stage, modules, streams, settings.optimizer, plan.num_steps, label="rl", budget=budget)
    monitor = _monitored(stage, settings, plan, loop, sampler, modules, scale) if settings.monitor else None
    loop.run()
    if monitor:
        monitor.finish(loop.last_step)
    if budget:
        stage.figures.update(spent_seconds=budget.spent, optimizer_steps=loop.last_step)
    save_backbone(backbone, stage.out / "model")
    verify_saved(backbone, stage.out / "model")
    if value_head is not None:
        value_head.save(stage.out / "model")


def _warn_of_filters(stage: StageContext, settings: StageSettings) -> None:
    if filters := settings.sampling.filters:
        stage.events.say(
            f"warning: rl.sampling.{' and '.join(filters)}: responses come from another distribution than the one that is "
            "trained, so its gradient is biased, though ratios start at 1; leave filters out unless you want just that"
        )


def _value_head(stage: StageContext, settings: StageSettings, backbone: Backbone) -> ValueHead:
    """The critic, on the policy's trunk."""
    from tuningfork.model.heads import ValueHead

    return ValueHead(backbone.hidden_size, settings.value.head, stage.seed).to(backbone.device)


def _say_models(stage: StageContext, backbone: Backbone, heads: Mapping[str, Any], extra_bytes: int) -> None:
    """What trains, and what the reference costs."""
    from tuningfork.model.tree import parameter_tree

    stage.events.say(parameter_tree(backbone.model, **heads))
    stage.events.say(
        "reference: the policy with its adapter off"
        if not extra_bytes
        else f"reference: a copy, {extra_bytes / 2**20:.0f} MiB"
    )


def _plan(settings: StageSettings, *, has_budget: bool) -> Plan:
    """How much is sampled and how it is cut into steps."""
    from tuningfork.streams.collection import Plan

    return Plan(
        settings.iterations or (None if has_budget else ITERATIONS),
        settings.prompts_per_iteration,
        settings.samples_per_prompt,
        settings.minibatches,
        getattr(settings.method, "epochs", 1),
        settings.sampling.temperature,
        settings.sampling.max_new_tokens,
    )


def _rollouts(
    stage: StageContext,
    settings: StageSettings,
    plan: Plan,
    actor: Actor,
    sampler: ScoringSampler,
    prompts: Sequence[Any],
    rows: Sequence[Mapping[str, Any]],
    scale: tuple[float, float],
) -> RolloutStream:
    """The stream of batches: samples of the policy as it is, scored, with the method's advantages."""
    from tuningfork.streams.collection import Collector
    from tuningfork.streams.rollouts import RolloutStream

    method = policy_methods.load(settings.method.name)

    def collect(indices: Sequence[int], purpose: object, *, greedy: bool = False) -> ScoredRollouts:
        chosen = [prompts[i] for i in indices], [rows[i] for i in indices]
        return sampler.collect(*chosen, purpose, greedy=greedy)

    return RolloutStream(
        actor=actor,
        method=method,
        settings=settings.method,
        collector=Collector(
            collect,
            functools.partial(collect, greedy=True),
            method.needs(settings.method),
            plan,
            len(prompts),
            stage.seed,
            actor.backbone.device,
            settings.shaping,
            *scale,
        ),
        controller=_controller(stage, settings.kl, plan),
        precision=stage.runtime.precision,
        seed=stage.seed,
        micro_batch=settings.micro_batch,
    )


def _monitored(
    stage: StageContext,
    settings: StageSettings,
    plan: Plan,
    loop: Loop,
    sampler: ScoringSampler,
    modules: Mapping[str, Any],
    scale: tuple[float, float],
) -> Monitor:
    """What looks at the policy during training; it may end the loop."""
    from tuningfork.evals.monitor import Monitor

    assert settings.monitor is not None
    monitor = Monitor(stage, settings.monitor, sampler, modules, *scale, _kl_price(settings))
    loop.hooks = [settings.monitor.hook(monitor, plan.steps_per_iteration, has_budget=settings.budget is not None)]
    loop.is_over = monitor.is_over
    return monitor


def _controller(stage: StageContext, settings: KLSettings, plan: Plan) -> FixedKL | AdaptiveKL:
    """What steers the KL coefficient; how far it may move is said."""
    from tuningfork.errors import RecipeError

    if plan.iterations is None:
        if settings.target is not None and settings.horizon == "auto":
            raise RecipeError("rl.kl.horizon: with a budget the number of episodes is not known before; give a number")
        return kl_controller(settings, 0, plan.episodes_per_iteration)
    total = plan.iterations * plan.episodes_per_iteration
    controller = kl_controller(settings, total, plan.episodes_per_iteration)
    low, high = controller.max_drift(total, plan.episodes_per_iteration)
    stage.events.say(
        f"{total:,} episodes; KL coefficient {controller.coefficient:g}, may move by a factor of {low:.2f} to {high:.2f}"
    )
    return controller


def _check(settings: StageSettings, needs: Needs) -> None:
    """Refuse settings that cannot work with the method, and those that would have no effect."""
    from tuningfork.errors import RecipeError

    name = settings.method.name
    if settings.budget is not None and settings.iterations is not None:
        raise RecipeError("rl.iterations has no effect with a budget; give one of them")
    if settings.sampling.greedy:
        raise RecipeError("rl.sampling.greedy: reinforcement learning needs samples that differ; remove greedy")
    if needs.groups and settings.samples_per_prompt < 2:
        raise RecipeError(f"rl.samples_per_prompt: {name} compares responses to one prompt; give 2 or more")
    if needs.on_policy and settings.minibatches > 1:
        raise RecipeError(
            f"rl.minibatches: {name} takes one step on responses of the very policy that is updated; give 1, or use ppo"
        )
    if not needs.values and settings.value != ValueSettings():
        raise RecipeError(f"rl.value has no effect: {name} has no critic; remove it")
    if _charges_nothing(settings) and settings.kl != KLSettings():
        raise RecipeError(f"rl.kl has no effect: {name} as set charges no KL; remove it, or set method.kl_in")


def _kl_price(settings: StageSettings) -> float:
    """Normalised score that a nat of KL costs at the start."""
    return 0.0 if _charges_nothing(settings) else settings.kl.coefficient


def _charges_nothing(settings: StageSettings) -> bool:
    """Whether the method takes no price for KL, so that the stage's coefficient has no effect."""
    return getattr(settings.method, "kl_in", "none") == "none"


def _reference_scale(
    stage: StageContext, wanted: ScaleSettings, sampler: ScoringSampler, prompts: Sequence[Any], rows: Sequence[Any]
) -> tuple[float, float]:
    """Mean and deviation of the raw scores of the reference's own answers; 0 and 1 when not asked for.

    Measured once, before any update, and kept with the checkpoints: a resumed run has another policy.
    """
    from dataclasses import replace

    from tuningfork.reward.scale import ScoreScale

    if wanted.by == "none":
        return 0.0, 1.0
    kept = stage.work / "scale.json"
    if not kept.is_file():
        count = min(wanted.samples, len(prompts))
        chosen = range(0, len(prompts) // count * count, len(prompts) // count)
        scored = sampler.score(sampler.sample([prompts[i] for i in chosen], "scale", 1), [rows[i] for i in chosen])
        ScoreScale.fit(scored.scores).save(kept)
    scale = ScoreScale.load(kept)
    scale = scale if wanted.mean is None else replace(scale, mean=wanted.mean)
    scale = scale if wanted.deviation is None else replace(scale, deviation=wanted.deviation)
    stage.figures.update(reference_mean=scale.mean, reference_deviation=scale.deviation)
    stage.events.say(
        f"scores of the reference: mean {scale.mean:.3f}, deviation {scale.deviation:.3f}; taken as 0 and 1"
    )
    return scale.mean, scale.deviation


def _may_begin(
    stage: StageContext,
    settings: StageSettings,
    sampler: ScoringSampler,
    rows: Sequence[Any],
    prompts: Sequence[Any],
    scale: tuple[float, float],
) -> bool:
    """Whether the rehearsal lets training begin; on monitor prompts where a gold judge knows them."""
    from tuningfork.evals.monitor import deciding_measure, load_monitor_gold, monitor_prompts
    from tuningfork.evals.rehearsal import Shape, rehearse

    if settings.rehearsal is None:
        return True
    judge = load_monitor_gold(stage, settings.monitor) if settings.monitor else None
    gold = None
    if judge is not None and settings.monitor is not None:
        gold = judge, deciding_measure(judge, settings.monitor.gold_measure)
        rows, prompts = monitor_prompts(stage, settings.monitor, sampler)
    shape = Shape(settings.shaping, *scale)
    price = _kl_price(settings)
    return rehearse(stage, settings.rehearsal, sampler, rows, prompts, shape=shape, kl_price=price, gold=gold)
