"""Choose which pairs people are asked about next, by what a reward model says of them. `tuningfork label FILE` asks them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from tuningfork.feedback.choosing import Strategy
from tuningfork.settings import Input, Settings
from tuningfork.stage import StageContext

if TYPE_CHECKING:
    from tuningfork.data.judgements import Judgement


class StageSettings(Settings):
    """Settings of the stage `choose`."""

    reward: Input = "reward/model"
    """reward model of the labels so far"""
    pool: Input
    """pairs that may be asked about: judgements or preferences, whose own order is not looked at"""
    judged: Input | None = None
    """judgements there are already; their pairs are not asked about again. `disagreement` learns its heads from them"""
    strategy: Strategy = "disagreement"
    """how pairs are chosen"""
    count: int = Field(default=100, ge=1)
    """pairs to ask about"""
    heads: int = Field(default=8, ge=2)
    """members of the ensemble for `disagreement`: heads on the reward model's trunk, each fitted to a resample of `judged`"""
    round: int = Field(default=0, ge=0)
    """number of the round; another one gives other draws"""


def run(stage: StageContext, settings: StageSettings) -> None:
    """Write pairs.jsonl: the chosen pairs, the most wanted first, as ties that wait for a judge."""
    from tuningfork.data.judgements import read_judgements, write_judgements
    from tuningfork.errors import DataError, RecipeError
    from tuningfork.feedback.choosing import choose
    from tuningfork.model.reward_model import RewardModel
    from tuningfork.streams.label_rounds import asked_pair, look_at

    if settings.strategy == "disagreement" and settings.judged is None:
        raise RecipeError("strategy disagreement needs judged: the judgements that its heads are fitted to")
    reward_model = RewardModel.load(stage.inputs["reward"].reference, stage.runtime)
    source = stage.inputs["pool"].reference
    known = read_judgements(stage.inputs["judged"].reference) if settings.judged else []
    taken = {_key(judgement) for judgement in known}
    pool = list({_key(one): one for one in read_judgements(source) if _key(one) not in taken}.values())
    if not pool:
        raise DataError(f"{source}: every pair was judged already; give a pool with others")
    pairs = [asked_pair(reward_model.backbone, judgement, source) for judgement in pool]
    judged = [asked_pair(reward_model.backbone, judgement, settings.judged or "") for judgement in known]
    seen = look_at(reward_model, judged, pairs, heads=settings.heads, seed=stage.seed)
    chosen = choose(settings.strategy, seen, settings.count, seed=stage.seed, round_number=settings.round)
    blank = {"ranking": [[0, 1]], "strength": 0.0, "seconds": None, "note": "", "edit": None}
    write_judgements(stage.out / "pairs.jsonl", [pool[index].model_copy(update=blank) for index in chosen])
    stage.figures.update(pool=len(pool), judged=len(known), chosen=len(chosen))
    stage.events.say(f"{len(chosen):,} of {len(pool):,} pairs chosen by {settings.strategy}")


def _key(judgement: Judgement) -> tuple[str, ...]:
    """What a pair is known by: its prompt and its answers, in whichever order."""
    return (judgement.prompt, *sorted(candidate.text for candidate in judgement.candidates))
