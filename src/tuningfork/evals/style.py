"""How answers look, whatever they say: length, variety, whether they end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tuningfork.evals.statistics import paired_comparison
from tuningfork.evals.summary import Limit, Measure, measure, point_measure
from tuningfork.evals.text import distinct, words

if TYPE_CHECKING:
    from tuningfork.evals.answers import Answers


def style_measures(
    before: Answers,
    after: Answers,
    roots: Sequence[str],
    seed: int,
    *,
    length_ratio: tuple[float, float] | None,
    distinct_ratio: float | None,
    eos_minimum: float | None,
) -> list[Measure]:
    """Length, distinct-2 and EOS rate; a limit makes a guard of each."""
    both = (before, after)
    lengths = [[float(len(rollout.response_ids)) for rollout in answers.rollouts] for answers in both]
    ended = [[float(answer.has_ended) for answer in answers.answers] for answers in both]
    first, second = (distinct([words(answer.text) for answer in answers.answers], 2) for answers in both)
    length_limit = Limit(on="ratio", minimum=length_ratio[0], maximum=length_ratio[1]) if length_ratio else None
    distinct_limit = Limit(on="ratio", minimum=distinct_ratio) if distinct_ratio else None
    eos_limit = Limit(minimum=eos_minimum) if eos_minimum else None
    return [
        measure(
            "length",
            paired_comparison(lengths[0], lengths[1], roots, seed),
            role="guard" if length_limit else "info",
            direction="same",
            seed=seed,
            limit=length_limit,
            unit="tokens",
            definition="mean tokens of an answer, EOS included",
        ),
        point_measure(
            "distinct_2",
            first,
            second,
            role="guard" if distinct_limit else "info",
            direction="higher" if distinct_limit else "same",
            seed=seed,
            limit=distinct_limit,
            label="variety (distinct-2)",
            definition="different word pairs over all word pairs of all answers",
        ),
        measure(
            "eos_rate",
            paired_comparison(ended[0], ended[1], roots, seed),
            role="guard" if eos_limit else "info",
            direction="higher" if eos_limit else "same",
            seed=seed,
            limit=eos_limit,
            label="ended by itself",
            definition="share of answers that ended before the length limit",
        ),
    ]
