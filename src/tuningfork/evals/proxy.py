"""What the reward says of answers before and after: the proxy, reported apart from the gold judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tuningfork.evals.statistics import paired_comparison
from tuningfork.evals.summary import Measure, measure
from tuningfork.reward.base import Item

if TYPE_CHECKING:
    from tuningfork.evals.answers import Answers
    from tuningfork.reward.base import Reward

Row = Mapping[str, Any]


def proxy_scores(reward: Reward, rows: Sequence[Row], answers: Answers) -> list[float | None]:
    """Raw scores of answers; None where the reward cannot score one."""
    items = [
        Item(row["prompt"], answer.text, row, rollout.prompt_ids, rollout.response_ids)
        for row, answer, rollout in zip(rows, answers.answers, answers.rollouts, strict=True)
    ]
    return [score.total for score in reward.score(items)]


def proxy_measure(
    before: Sequence[float | None], after: Sequence[float | None], roots: Sequence[str], seed: int
) -> list[Measure]:
    """The comparison over the prompts that could be scored on both sides; none where there is no such prompt."""
    both = [
        (old, new, root)
        for old, new, root in zip(before, after, roots, strict=True)
        if old is not None and new is not None
    ]
    if not both:
        return []
    old, new, scored_roots = zip(*both, strict=True)
    return [
        measure(
            "reward",
            paired_comparison(old, new, scored_roots, seed),
            role="proxy",
            direction="higher",
            seed=seed,
            label="reward (proxy)",
            definition="the reward that was optimised, on the test prompts: what was asked for, not what was meant",
        )
    ]
