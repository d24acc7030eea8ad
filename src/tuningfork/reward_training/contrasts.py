"""Pairs of known order: does the reward know each kind of difference, also where it was not trained?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tuningfork.reward.base import Item
from tuningfork.reward_training.scoring import mean_scores

if TYPE_CHECKING:
    from tuningfork.model.reward_model import RewardModel
    from tuningfork.reward_training.settings import ContrastSettings
    from tuningfork.stage import StageContext


def check_contrasts(stage: StageContext, settings: ContrastSettings, models: Sequence[RewardModel]) -> None:
    """Share of the pairs that the reward gets right, by kind of difference and group; a gate for each kind."""
    from tuningfork.data.jsonl import read_jsonl

    rows = read_jsonl(stage.inputs["contrasts.data"].reference, required=("name", "group", "prompt", "better", "worse"))
    better, worse = (
        mean_scores(models, [Item(row["prompt"], row[side]) for row in rows]) for side in ("better", "worse")
    )
    right: dict[tuple[str, str], list[bool]] = {}
    for row, first, second in zip(rows, better, worse, strict=True):
        right.setdefault((row["group"], row["name"]), []).append(first > second)
    shares = {key: sum(values) / len(values) for key, values in right.items()}
    stage.figures["contrasts"] = {f"{group}/{name}": share for (group, name), share in sorted(shares.items())}
    for name, minimum in settings.minimum.items():
        share = shares.get((settings.group, name), 0.0)
        stage.gate(
            f"contrast {name}",
            share >= minimum,
            f"{share:.3f} of {settings.group} pairs in the right order (at least {minimum})",
        )
