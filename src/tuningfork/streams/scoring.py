"""Responses of a policy and their scores: what the RL stage, its rehearsal and its monitor share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tuningfork.errors import RunError
from tuningfork.randomness import derive_seed
from tuningfork.reward.base import UNSCORABLE, Item
from tuningfork.rollout.rollout import Prompt, Rollout, sample
from tuningfork.rollout.sampler import LocalEngine
from tuningfork.rollout.settings import SamplingSettings
from tuningfork.streams.collection import ScoredRollouts, join_scored

if TYPE_CHECKING:
    from tuningfork.model.backbone import Backbone
    from tuningfork.reward.base import Reward, Score
    from tuningfork.stage import StageContext

Row = Mapping[str, Any]


class ScoringSampler:
    """Samples responses of the policy and scores them."""

    def __init__(
        self,
        stage: StageContext,
        backbone: Backbone,
        reward: Reward | None,
        sampling: SamplingSettings,
        *,
        samples_per_prompt: int = 1,
        chunk: int | None = None,
        max_unscorable: float = 1.0,
    ) -> None:
        """Without a reward nothing has a score. `chunk`: responses sampled and scored at a time, which bounds memory; the
        result does not depend on it. `max_unscorable`: share of what is collected at once that may have no score."""
        self.stage, self.backbone, self.reward, self.sampling = stage, backbone, reward, sampling
        self.samples_per_prompt, self.chunk, self.max_unscorable = samples_per_prompt, chunk, max_unscorable
        self.engine = LocalEngine(backbone, runtime=stage.runtime, say=stage.events.say)

    def sample(
        self, prompts: Sequence[Prompt], purpose: object, num_samples: int, *, greedy: bool = False
    ) -> list[Rollout]:
        """Responses drawn with random numbers that depend on (seed, purpose, prompt, sample) alone."""
        how = self.sampling
        if greedy:
            how = SamplingSettings(max_new_tokens=how.max_new_tokens, greedy=True)
        seed = derive_seed(self.stage.seed, "rl", purpose)
        return sample(self.engine, prompts, how, seed=seed, num_samples=num_samples)

    def collect(
        self, prompts: Sequence[Prompt], rows: Sequence[Row], purpose: object, *, greedy: bool = False
    ) -> ScoredRollouts:
        """Rollouts and raw scores, several for each prompt; or the one greedy response to each. RunError where too many
        have no score.

        A prompt that comes again, as at the end of an epoch, draws other responses than before.
        """
        names, prompts = [prompt.id for prompt in prompts], _told_apart(prompts)
        per_prompt = 1 if greedy else self.samples_per_prompt
        size = max(1, self.chunk // per_prompt) if self.chunk else len(prompts)
        parts = []
        for start in range(0, len(prompts), size):
            rollouts = self.sample(prompts[start : start + size], purpose, per_prompt, greedy=greedy)
            # Groups are numbered within a call; what is collected at once is one set of groups.
            rollouts = [
                replace(rollout, group=rollout.group + start, prompt_id=names[rollout.group + start])
                for rollout in rollouts
            ]
            parts.append(self.score(rollouts, [row for row in rows[start : start + size] for _ in range(per_prompt)]))
        scored = join_scored(parts)
        missing, total = scored.scores.count(None), len(scored.scores)
        if missing > self.max_unscorable * total:
            raise RunError(
                f"the reward could not score {missing} of {total} responses (at most {self.max_unscorable:.0%} may be "
                "unscorable: max_unscorable); look at the samples, and at what the reward needs of a response"
            )
        return scored

    def score(self, rollouts: Sequence[Rollout], rows: Sequence[Row]) -> ScoredRollouts:
        """Raw scores of rollouts, and their parts."""
        scores = self.scores(rollouts, rows)
        return ScoredRollouts(
            rollouts, [s.total for s in scores], [s.parts for s in scores], [s.prefixes for s in scores]
        )

    def scores(self, rollouts: Sequence[Rollout], rows: Sequence[Row]) -> list[Score]:
        """What the reward says of each rollout, whose prompt has the row beside it."""
        if self.reward is None:
            return [UNSCORABLE] * len(rollouts)
        texts = self.backbone.decode([rollout.response_ids for rollout in rollouts])
        return self.reward.score(
            [
                Item(row["prompt"], text, row, rollout.prompt_ids, rollout.response_ids)
                for rollout, text, row in zip(rollouts, texts, rows, strict=True)
            ]
        )


def _told_apart(prompts: Sequence[Prompt]) -> list[Prompt]:
    """The prompts, with another id, which names the random numbers, wherever one comes again."""
    seen: Counter[str] = Counter()
    found = []
    for prompt in prompts:
        found.append(replace(prompt, id=f"{prompt.id}, again {seen[prompt.id]}") if seen[prompt.id] else prompt)
        seen[prompt.id] += 1
    return found
