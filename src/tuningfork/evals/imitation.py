"""The honest check of imitation: style and facts apart, inside and outside the imitated tasks.

A student that imitates a better teacher learns how its answers look, and raters who cannot check facts prefer them; what
the teacher knows it learns only where it was shown it (Gudibande et al. 2023, 2305.15717). So both are measured by
themselves. Style is compared with the teacher's own second draw: no imitation can agree with a teacher more than it
agrees with itself. All pure; no torch here.

    length      words by which an answer differs from the teacher's to the same prompt
    format      share of the features of `format_of` that it shares with it
    preference  share of answers that a judge prefers to the teacher's, ties half
    facts       share that the gold judge calls right
    probe       probability of a right word after a fixed prefix: facts without any question of style
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from tuningfork.evals.gold import Answer
from tuningfork.evals.numbers import figure
from tuningfork.evals.statistics import Comparison, paired_comparison

Side = Literal["inside", "outside"]
Kind = Literal[
    "style and facts", "facts only where imitated", "style without facts", "facts without style", "nothing imitated"
]

LEAST_CLOSED = 0.1
"""Share of the teacher's lead in facts that has to be closed, with the whole interval, to speak of facts learnt."""

_LIST = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s", re.MULTILINE)


@dataclass(frozen=True)
class Values:
    """One measure of the same rows: student before and after, and the teacher (for style, its second draw)."""

    before: Sequence[float]
    after: Sequence[float]
    teacher: Sequence[float]


@dataclass(frozen=True)
class Finding:
    """One measure on one side: what imitation changed, and how far the teacher still is."""

    name: str
    side: Side
    change: Comparison
    """from before to after"""
    gap: Comparison
    """from after to the teacher"""
    lead: Comparison
    """from before to the teacher"""

    @property
    def rose(self) -> bool:
        """Whether imitation clearly raised it; never with too few roots for an interval."""
        return self.change.ci95 is not None and self.change.ci95[0] > 0

    @property
    def is_learnt(self) -> bool:
        """Whether imitation clearly closed at least the share `LEAST_CLOSED` of the teacher's lead.

        A student that learns which words are likely at all gains a little probability on every right one, and with many
        roots the interval of so little may leave out 0: that is no knowledge of facts.
        """
        return self.rose and self.change.ci95 is not None and self.change.ci95[0] >= LEAST_CLOSED * self.lead.difference

    @property
    def fell(self) -> bool:
        """Whether imitation clearly lowered it."""
        return self.change.ci95 is not None and self.change.ci95[1] < 0

    @property
    def teacher_is_better(self) -> bool:
        """Whether the teacher is clearly above the student as it was before."""
        return self.lead.ci95 is not None and self.lead.ci95[0] > 0

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "name": self.name,
            "side": self.side,
            "change": asdict(self.change),
            "gap": asdict(self.gap),
            "lead": asdict(self.lead),
        }

    def __str__(self) -> str:
        interval = f" [{figure(self.change.ci95[0])}, {figure(self.change.ci95[1])}]" if self.change.ci95 else ""
        before, after, teacher = figure(self.change.before), figure(self.change.after), figure(self.gap.after)
        return f"{self.name} {self.side}: {before} to {after}, change{interval}; teacher {teacher}"


def format_of(text: str) -> tuple[Any, ...]:
    """How an answer looks: first word's case, last mark, lines, list, code, and its opening word."""
    stripped = text.strip()
    words = stripped.split()
    return (
        stripped[:1].isupper(),
        stripped[-1:] if stripped[-1:] in ".!?:" else "",
        min(stripped.count("\n"), 5),
        bool(_LIST.search(stripped)),
        "```" in stripped,
        words[0].lower() if words else "",
    )


def style_values(
    before: Sequence[Answer], after: Sequence[Answer], teacher: Sequence[Answer], again: Sequence[Answer]
) -> dict[str, Values]:
    """`length` (words of difference, lower is nearer) and `format` (share of features) of each answer against `teacher`."""

    def lengths(answers: Sequence[Answer]) -> list[float]:
        return [float(abs(len(a.text.split()) - len(t.text.split()))) for a, t in zip(answers, teacher, strict=True)]

    def formats(answers: Sequence[Answer]) -> list[float]:
        return [_agreement(a, t) for a, t in zip(answers, teacher, strict=True)]

    return {
        "length": Values(lengths(before), lengths(after), lengths(again)),
        "format": Values(formats(before), formats(after), formats(again)),
    }


def preferences(scores: Sequence[float], teacher: Sequence[float]) -> list[float]:
    """1 where a judge scores an answer above the teacher's, 0 below, 0.5 for a tie."""
    return [0.5 + 0.5 * ((a > b) - (a < b)) for a, b in zip(scores, teacher, strict=True)]


def compare(name: str, side: Side, values: Values, roots: Sequence[str], seed: int) -> Finding:
    """The finding of one measure over rows (N,) whose roots are `roots`."""
    before, after, teacher = values.before, values.after, values.teacher
    pairs = ((before, after), (after, teacher), (before, teacher))
    return Finding(name, side, *(paired_comparison(first, second, roots, seed) for first, second in pairs))


def verdict(findings: Sequence[Finding]) -> tuple[Kind, str]:
    """The kind by rules, and a sentence. Facts are `probe` where there are probes, else `facts`."""
    found: Mapping[tuple[str, Side], Finding] = {(one.name, one.side): one for one in findings}
    facts = "probe" if ("probe", "outside") in found else "facts"
    style = any(
        found[name, side].rose
        for name in ("format", "preference")
        for side in ("inside", "outside")
        if (name, side) in found
    )
    style = style or any(found["length", side].fell for side in ("inside", "outside"))
    inside, outside = found[facts, "inside"].is_learnt, found[facts, "outside"].is_learnt
    kind: Kind = (
        "nothing imitated" if not (style or inside or outside)
        else "style and facts" if style and outside
        else "facts without style" if outside
        else "facts only where imitated" if inside
        else "style without facts"
    )  # fmt: skip
    shown = [found[key] for key in found if key[0] in (facts, "format", "preference")]
    return kind, f"{kind}: {'; '.join(map(str, shown))}"


def _agreement(answer: Answer, other: Answer) -> float:
    pairs = [*zip(format_of(answer.text), format_of(other.text), strict=True), (answer.has_ended, other.has_ended)]
    return sum(a == b for a, b in pairs) / len(pairs)
