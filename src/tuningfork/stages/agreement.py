"""Before optimising a reward: how far do the reward, the gold judge and the lexicon agree, on real texts and on samples?"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from tuningfork.reward.settings import RewardSettings
from tuningfork.rollout.settings import SamplingSettings
from tuningfork.settings import Input, Settings
from tuningfork.stage import StageContext


class StageSettings(Settings):
    """Settings of the stage `agreement`."""

    model: Input
    """model whose samples are judged: the one that reinforcement learning starts from"""
    reward: RewardSettings
    """the reward that is going to be optimised; positive means above 0"""
    gold: Input
    """artifact of the stage `gold`"""
    heldout: Input
    """labelled texts that none of them was trained on"""
    prompts: Input
    """prompts for the samples"""
    samples: int = Field(default=500, ge=1)
    """prompts to sample for, one answer each"""
    sampling: SamplingSettings = SamplingSettings(max_new_tokens=40)
    """how the samples are drawn"""
    minimum: float = Field(default=0.6, ge=0, le=1)
    """least share of samples on which reward and gold judge agree"""


def run(stage: StageContext, settings: StageSettings) -> None:
    """Score texts and samples with all three judges, record agreement and the gate `agreement`."""
    import numpy as np

    from tuningfork.data.jsonl import read_jsonl
    from tuningfork.evals.answers import answer_prompts
    from tuningfork.evals.sentiment import GoldJudge, OpinionLexicon, agreement
    from tuningfork.model.loading import load_backbone
    from tuningfork.reward import load_reward
    from tuningfork.reward.base import Item

    gold, lexicon = GoldJudge.load(Path(stage.inputs["gold"].reference)), OpinionLexicon.load()
    heldout = read_jsonl(stage.inputs["heldout"].reference, required=("text",))
    items = {"heldout": [Item("", row["text"], row) for row in heldout]}
    backbone = load_backbone(stage.inputs["model"].reference, stage.runtime)
    reward = load_reward(settings.reward, stage.inputs, stage.runtime, tokenizer=backbone.tokenizer)
    rows = read_jsonl(stage.inputs["prompts"].reference, required=("id", "prompt"))[: settings.samples]
    sampled = answer_prompts(backbone, rows, settings.sampling, seed=stage.seed, purpose="agreement")
    items["samples"] = [
        Item(row["prompt"], answer.text, row, rollout.prompt_ids, rollout.response_ids)
        for row, answer, rollout in zip(rows, sampled.answers, sampled.rollouts, strict=True)
    ]
    for name, group in items.items():
        texts = [item.prompt + item.response for item in group]
        scores = [score.total for score in reward.score(group)]
        opinions = {
            "reward": np.array([0.5 if score is None else float(score > 0) for score in scores]),
            "gold": gold.probabilities(texts),
            "lexicon": lexicon.opinions(texts),
        }
        for first, second in (("reward", "gold"), ("reward", "lexicon"), ("gold", "lexicon")):
            found = agreement(opinions[first], opinions[second])
            stage.figures[f"{name}/{first}_{second}"] = found.share
            stage.events.say(
                f"{name}: {first} and {second} agree on {found.share:.3f} of {found.n} (kappa {found.kappa:.2f})"
            )
        for judge, values in opinions.items():
            stage.figures[f"{name}/{judge}_positive"] = float((values > 0.5).mean())
    share = stage.figures["samples/reward_gold"]
    stage.gate(
        "agreement",
        share >= settings.minimum,
        f"reward and gold judge agree on {share:.3f} of {len(rows)} samples (at least {settings.minimum})",
    )
