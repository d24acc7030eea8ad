"""What preference training did, from held-out preferences: margins, both shifts of likelihood, lengths; and a verdict.

    too few to tell           the order of held-out pairs may be a coin's, and may be right in three of four
    nothing learned           the order of held-out pairs is not better than a coin's
    length exploitation       the policy goes by length: pairs whose chosen response is the shorter one are in the wrong
                              order, or its answers left the lengths that were chosen
    likelihood displacement   pairs are in the right order, but the chosen responses became less likely (Razin et al.
                              2024, 2410.08847): what both lost went to answers that nobody judged
    normal                    none of these

The rules are tried in this order. No torch here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tuningfork.evals.numbers import figure, signed
from tuningfork.evals.statistics import bootstrap_interval, wilson_interval

Kind = Literal["too few to tell", "nothing learned", "length exploitation", "likelihood displacement", "normal"]

DISPLACEMENT = 0.05
"""Nats a token that chosen responses may become less likely by; DPO without displacement stays within it."""

LEARNED = 0.75
"""Share of held-out pairs in the right order that says plainly that something was learned."""

OVERSHOOT = 1.2
"""How far mean answer lengths may leave the range from those before to those that were chosen, as a factor."""


@dataclass(frozen=True)
class Measured:
    """A held-out response before and after: summed log-probabilities, its tokens, and what it was made from."""

    before: float
    after: float
    length: int
    root: str

    @property
    def shift(self) -> float:
        """Nats by which it became more likely."""
        return self.after - self.before


@dataclass(frozen=True)
class PreferenceFigures:
    """What the verdict rests on. Shifts and margin in nats a response, lengths in tokens."""

    accuracy: float
    """share of pairs in which the chosen response gained more than the rejected one; ties count half"""
    accuracy_ci95: tuple[float, float]
    comparisons: int
    margin: float
    """mean shift of the chosen less that of the rejected responses"""
    chosen_shift: float
    chosen_shift_ci95: tuple[float, float]
    chosen_shift_a_token: float
    rejected_shift: float
    chosen_length: float
    rejected_length: float
    accuracy_where_shorter: float | None
    """accuracy on pairs whose chosen response is the shorter one; None where there are none, or no pairs at all"""
    shorter_ci95: tuple[float, float] | None
    answer_length_before: float
    answer_length_after: float

    @property
    def length_gap(self) -> float:
        """Tokens by which chosen responses are longer than rejected ones."""
        return self.chosen_length - self.rejected_length


def measure(
    chosen: Sequence[Measured],
    rejected: Sequence[Measured],
    *,
    is_paired: bool,
    answers_before: Sequence[int],
    answers_after: Sequence[int],
    seed: int,
) -> PreferenceFigures:
    """Figures of held-out preferences; unpaired ones are compared each good one with each bad one.

    `answers_*` are lengths of the policy's own answers before and after. There must be a response of each kind.
    """
    gains, losses = (np.array([text.shift for text in texts]) for texts in (chosen, rejected))
    differences = gains - losses if is_paired else np.subtract.outer(gains, losses).ravel()
    hits = (np.sign(differences) + 1) / 2
    # Of unpaired ones every response stands in many comparisons: the interval counts responses.
    independent = len(hits) if is_paired else min(len(gains), len(losses))
    low, high = wilson_interval(float(hits.mean()) * independent, independent)
    long, short = (np.array([text.length for text in texts]) for texts in (chosen, rejected))
    shorter = hits[long < short] if is_paired else hits[:0]
    return PreferenceFigures(
        accuracy=float(hits.mean()),
        accuracy_ci95=(low, high),
        comparisons=independent,
        margin=float(gains.mean() - losses.mean()),
        chosen_shift=float(gains.mean()),
        chosen_shift_ci95=bootstrap_interval(gains, [text.root for text in chosen], seed=seed),
        chosen_shift_a_token=float(gains.sum() / long.sum()),
        rejected_shift=float(losses.mean()),
        chosen_length=float(long.mean()),
        rejected_length=float(short.mean()),
        accuracy_where_shorter=float(shorter.mean()) if len(shorter) else None,
        shorter_ci95=wilson_interval(float(shorter.sum()), len(shorter)) if len(shorter) else None,
        answer_length_before=float(np.mean(answers_before)),
        answer_length_after=float(np.mean(answers_after)),
    )


def verdict(figures: PreferenceFigures) -> tuple[Kind, str]:
    """The kind, and one line that explains margin, both shifts and lengths, with what to change."""
    kind = _kind(figures)
    return kind, f"{kind}: {_explain(figures)}. {_ADVICE[kind]}"


def _kind(figures: PreferenceFigures) -> Kind:
    low, high = figures.accuracy_ci95
    if low <= 0.5:
        return "too few to tell" if high >= LEARNED else "nothing learned"
    if _goes_by_length(figures) or _overshoots(figures):
        return "length exploitation"
    if figures.chosen_shift_ci95[1] < 0 and figures.chosen_shift_a_token < -DISPLACEMENT:
        return "likelihood displacement"
    return "normal"


def _goes_by_length(figures: PreferenceFigures) -> bool:
    return figures.shorter_ci95 is not None and figures.shorter_ci95[1] < 0.5


def _overshoots(figures: PreferenceFigures) -> bool:
    lengths = (figures.answer_length_before, figures.chosen_length)
    return not min(lengths) / OVERSHOOT <= figures.answer_length_after <= max(lengths) * OVERSHOOT


def _explain(figures: PreferenceFigures) -> str:
    shorter = figures.accuracy_where_shorter
    return (
        f"{figure(figures.accuracy)} of {figures.comparisons} held-out comparisons in the right order, margin "
        f"{signed(figures.margin)} nats; chosen responses {signed(figures.chosen_shift)} nats, rejected ones "
        f"{signed(figures.rejected_shift)}; chosen ones are {signed(figures.length_gap)} tokens longer"
        + ("" if shorter is None else f" ({figure(shorter)} right where they are shorter)")
        + f", own answers went from {figure(figures.answer_length_before)} to {figure(figures.answer_length_after)} tokens"
    )


_ADVICE: dict[Kind, str] = {
    "too few to tell": "A larger holdout_share or more pairs would tell",
    "nothing learned": "More pairs, more epochs, a higher learning rate or a smaller beta; look at the pairs first",
    "length exploitation": (
        "Balance the lengths of chosen and rejected responses, or use a method that counts by token "
        "(simpo, or ipo with normalise: tokens); fewer epochs"
    ),
    "likelihood displacement": (
        "Set method.nll_coefficient (method rpo has it at 1), lower the learning rate, train fewer epochs, "
        "raise beta, or drop pairs that hardly differ"
    ),
    "normal": "Nothing to change",
}
