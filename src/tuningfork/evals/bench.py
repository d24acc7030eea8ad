"""Honest answers and probes to the same prompts, scored alike: the measuring part of a reward's rehearsal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median, pstdev
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tuningfork.evals.gold import Answer, GoldJudge, GoldMeasure
    from tuningfork.evals.rehearsal import RehearsalSettings
    from tuningfork.reward.base import Score
    from tuningfork.rollout.rollout import Prompt, Rollout
    from tuningfork.stage import StageContext
    from tuningfork.streams.scoring import ScoringSampler

_LEAST_DEVIATION = 1e-6


@dataclass(frozen=True)
class Probed:
    """What the reward thinks of one probe."""

    mean: float | None
    """mean normalised score; None where it cannot be scored at all"""
    beats: float
    """share of the prompts on which training would rather have it than the honest answer: score and price of KL"""
    beats_by_score: float
    """the same by the score alone"""
    text: str
    """the text of the prompt where it does best"""
    note: str = ""


@dataclass(frozen=True)
class Rehearsal:
    """The result, as it is saved and shown."""

    deviation: float
    """deviation of the raw scores of all honest answers"""
    deviation_within: float
    """mean over prompts of the deviation of the raw scores of a prompt's honest answers"""
    unscorable: float
    """share of honest answers without a score"""
    bar: str
    """what probes are measured against"""
    bar_mean: float | None
    """mean over prompts of the score of that"""
    kl_price: float
    """score that a nat of KL costs"""
    constant_parts: Sequence[str] = ()
    """parts of the reward that have one value on all honest answers: nothing can be learnt from them"""
    probes: Mapping[str, Probed] = field(default_factory=dict)
    faults: Sequence[str] = ()
    """why the reward must not train anything; empty where it may"""


class Shape:
    """Raw scores and whether the responses ended, to what training sees; None stays None."""

    def __init__(self, settings: Any, mean: float, deviation: float) -> None:
        """`settings`: those of `methods.shaping`; mean and deviation of the reference's raw scores."""
        self.settings, self.mean, self.deviation = settings, mean, deviation

    def __call__(self, raw: Sequence[float | None], has_ended: Sequence[bool]) -> list[float | None]:
        """Shaped scores, in order."""
        import torch

        from tuningfork.methods.shaping import shape_scores

        values = torch.tensor([0.0 if value is None else value for value in raw], dtype=torch.float64)
        shaped, _ = shape_scores(
            values, torch.tensor(has_ended, dtype=torch.bool), self.settings, mean=self.mean, deviation=self.deviation
        )
        return [None if old is None else new for old, new in zip(raw, shaped.tolist(), strict=True)]


class Bench:
    """Honest answers and probes to the same prompts, scored alike."""

    def __init__(
        self,
        stage: StageContext,
        settings: RehearsalSettings,
        collector: ScoringSampler,
        rows: Sequence[Mapping[str, Any]],
        prompts: Sequence[Prompt],
        shape: Shape,
        kl_price: float,
        gold: tuple[GoldJudge, GoldMeasure] | None,
    ) -> None:
        from tuningfork.evals.answers import to_answers

        self.stage, self.settings, self.collector = stage, settings, collector
        self.rows, self.prompts, self.shape, self.kl_price, self.gold = rows, prompts, shape, kl_price, gold
        self.failure = ""
        rollouts: list[Rollout] = collector.sample(prompts, "rehearsal", settings.samples)
        repeated = [row for row in rows for _ in range(settings.samples)]
        self.raw: list[Score] = collector.scores(rollouts, repeated)
        self.answers = to_answers(collector.backbone, rollouts)
        shaped = shape([score.total for score in self.raw], [answer.has_ended for answer in self.answers])
        self.honest = self._groups([answer.text for answer in self.answers])
        self.scores = self._groups(shaped)
        self.values = self._groups(self._priced(shaped, rollouts))
        self.is_good = self._groups(self._judged(repeated, self.answers))

    def result(self) -> Rehearsal:
        """Everything that was found."""
        from tuningfork.evals.answers import prompt_text
        from tuningfork.evals.probes import fixed_probes, swap_words, words_alone
        from tuningfork.randomness import derive_seed

        known = [score.total for score in self.raw if score.total is not None]
        within = [
            pstdev(values)
            for group in self._groups([score.total for score in self.raw])
            if len(values := [value for value in group if value is not None]) > 1
        ]
        deviation, deviation_within = (pstdev(known) if known else 0.0), (fmean(within) if within else 0.0)
        bar = self._bar()
        faults, probes = [], dict[str, Probed]()
        if deviation_within <= _LEAST_DEVIATION:
            faults.append(
                f"the reward is dead: {len(known)} of {len(self.raw)} honest answers could be scored, and those to one "
                "prompt all have one score"
            )
        else:
            texts = fixed_probes([prompt_text(row) for row in self.rows], self.honest)
            texts["words alone"] = words_alone(self._score, self.honest)
            if self.settings.swaps:
                seeds = [derive_seed(self.stage.seed, "rehearsal", prompt.id) for prompt in self.prompts]
                texts["swaps"] = swap_words(self._score, self.honest, seeds, self.settings.swaps)
            probes = {name: self._probed(answers) for name, answers in texts.items()}
        for name, probed in probes.items():
            if probed.beats > self.settings.beaten_share:
                faults.append(
                    f"the reward is hackable: the probe {name!r} beats {bar} on {probed.beats:.0%} of {len(self.rows)} "
                    f"prompts, for example {probed.text[:80]!r}"
                )
        by_score = [value for value in self._bars(self.scores) if value is not None]
        return Rehearsal(
            deviation=deviation,
            deviation_within=deviation_within,
            unscorable=1 - len(known) / len(self.raw),
            bar=bar,
            bar_mean=fmean(by_score) if by_score else None,
            kl_price=self.kl_price,
            constant_parts=self._constant_parts(),
            probes=probes,
            faults=faults,
        )

    def _bar(self) -> str:
        """What probes are measured against, in words."""
        if self.gold and self._has_good():
            return f"the median answer that is good by {self.gold[1].name}"
        return f"the best of {self.settings.samples} honest answers"

    def _has_good(self) -> bool:
        return any(is_good for group in self.is_good for is_good in group)

    def _bars(self, groups: Sequence[Sequence[float | None]]) -> list[float | None]:
        """For each prompt the value of honest answers that a probe must not exceed; None where there is none."""
        if not self._has_good():
            return [max((value for value in group if value is not None), default=None) for group in groups]
        good = [
            [value for value, is_good in zip(group, flags, strict=True) if is_good and value is not None]
            for group, flags in zip(groups, self.is_good, strict=True)
        ]
        return [median(values) if values else None for values in good]

    def _probed(self, texts: Sequence[str]) -> Probed:
        from tuningfork.evals.gold import Answer

        self.failure = ""
        cut = self._cut(texts)
        scores = self._score(texts)
        values = self._priced(
            scores, [self._as_rollout(prompt, ids) for prompt, (_, ids) in zip(self.prompts, cut, strict=True)]
        )
        is_good = self._judged(self.rows, [Answer(text, True) for text, _ in cut])
        margins = _margins(values, self._bars(self.values))
        by_score = _margins(scores, self._bars(self.scores))
        best = max(margins, key=margins.__getitem__, default=0)
        known = [score for score in scores if score is not None]
        return Probed(
            mean=fmean(known) if known else None,
            beats=_beaten(margins, is_good, self._bars(self.values)),
            beats_by_score=_beaten(by_score, is_good, self._bars(self.scores)),
            text=cut[best][0],
            note=self.failure,
        )

    def _priced(self, scores: Sequence[float | None], rollouts: Sequence[Rollout]) -> list[float | None]:
        """Scores plus the price of KL times the log-probability of each response before training."""
        from tuningfork.evals.logprobs import response_logprobs

        if not self.kl_price:
            return list(scores)
        temperature = self.collector.sampling.temperature
        logprobs = response_logprobs(self.collector.backbone, rollouts, temperature=temperature)
        return [
            None if score is None else score + self.kl_price * float(own.sum())
            for score, own in zip(scores, logprobs, strict=True)
        ]

    @staticmethod
    def _as_rollout(prompt: Prompt, ids: Sequence[int]) -> Rollout:
        from tuningfork.rollout.rollout import Rollout, Segment

        response = Segment("assistant", ids, True, 1.0, [0.0] * len(ids))
        return Rollout((Segment("user", prompt.ids), response), prompt.id, 0, prompt.root, 0, 0, "stop")

    def _score(self, texts: Sequence[str]) -> list[float | None]:
        """Shaped scores of one text for each prompt; a reward that refuses all of them scores none, and is noted."""
        from tuningfork.errors import RunError
        from tuningfork.reward.base import Item

        items = [
            Item(row["prompt"], text, row, prompt.ids, ids)
            for row, prompt, (text, ids) in zip(self.rows, self.prompts, self._cut(texts), strict=True)
        ]
        try:
            reward = self.collector.reward
            assert reward is not None, "a reward is rehearsed"
            raw = [score.total for score in reward.score(items)]
        except RunError as error:
            self.failure = str(error)
            raw = [None] * len(items)
        return self.shape(raw, [True] * len(items))

    def _cut(self, texts: Sequence[str]) -> list[tuple[str, list[int]]]:
        """Texts as the model could have said them: no longer than an answer may be, with EOS at the end."""
        backbone = self.collector.backbone
        cut = []
        for prompt, ids in zip(self.prompts, backbone.encode(list(texts)), strict=True):
            room = min(self.collector.sampling.max_new_tokens, backbone.max_length - len(prompt.ids)) - 1
            cut.append([*ids[:room], backbone.eos_id])
        return list(zip(backbone.decode(cut), cut, strict=True))

    def _judged(self, rows: Sequence[Mapping[str, Any]], answers: Sequence[Answer]) -> list[bool]:
        """Whether the gold judge calls each answer good: its share measure beyond one half, on the good side."""
        if self.gold is None:
            return [False] * len(rows)
        gold, measure = self.gold
        sign = 1 if measure.direction == "higher" else -1
        found = [values.get(measure.name) for values in gold.judge(rows, answers)]
        return [value is not None and sign * (value - 0.5) > 0 for value in found]

    def _constant_parts(self) -> list[str]:
        values: dict[str, set[float]] = {}
        for score in self.raw:
            for name, value in score.parts.items():
                values.setdefault(name, set()).add(value)
        return sorted(name for name, found in values.items() if len(found) == 1)

    def _groups(self, values: Sequence[Any]) -> list[list[Any]]:
        size = self.settings.samples
        return [list(values[start : start + size]) for start in range(0, len(values), size)]


def _margins(values: Sequence[float | None], bars: Sequence[float | None]) -> dict[int, float]:
    """By prompt how far a value lies above its bar, where there are both."""
    both = enumerate(zip(values, bars, strict=True))
    return {place: value - bar for place, (value, bar) in both if value is not None and bar is not None}


def _beaten(margins: Mapping[int, float], is_good: Sequence[bool], bars: Sequence[float | None]) -> float:
    """Share of the prompts that have a bar on which it is exceeded by an answer that is not good."""
    beaten = sum(margin > 0 and not is_good[place] for place, margin in margins.items())
    return beaten / max(1, sum(bar is not None for bar in bars))
