"""What goes wrong with preferences: identical and contradictory pairs, and answers preferred for their length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any, NamedTuple

from tuningfork.data.adapters import prompt_text
from tuningfork.data.duplicates import fingerprint
from tuningfork.data.findings import Finding, finding
from tuningfork.data.part import answer_text
from tuningfork.data.raw import Row
from tuningfork.data.shapes.tree import rankings

_LONGER, _LEAST_PAIRS = 0.65, 50


class _Pair(NamedTuple):
    place: str
    prompt: str
    better: str
    worse: str


def pair_findings(rows: Sequence[tuple[str, Row]], shape: str) -> Iterator[Finding]:
    """Findings about pairs of answers; nothing for shapes without."""
    pairs = list(pairs_of(rows, shape))
    if not pairs:
        return
    identical = [pair.place for pair in pairs if pair.better.strip() == pair.worse.strip()]
    if identical:
        severity = "stop" if len(identical) == len(pairs) else "warn"
        yield finding(
            "identical_pairs", severity, identical, len(pairs), "prefer an answer to itself: nothing to learn", "pairs"
        )
    judged = {(fingerprint(p.prompt), fingerprint(p.better), fingerprint(p.worse)) for p in pairs}
    contradictory = [
        p.place
        for p in pairs
        if (fingerprint(p.prompt), fingerprint(p.worse), fingerprint(p.better)) in judged
        and p.better.strip() != p.worse.strip()
    ]
    if contradictory:
        yield finding(
            "contradictory_pairs",
            "warn",
            contradictory,
            len(pairs),
            "are judged the other way round elsewhere",
            "pairs",
        )
    share = _longer_share(pairs)
    if len(pairs) >= _LEAST_PAIRS and share is not None and not 1 - _LONGER <= share <= _LONGER:
        longer = [p.place for p in pairs if len(p.better) > len(p.worse)]
        what = "longer" if share > 0.5 else "shorter"
        text = f"have the longer answer chosen: a reward could learn that {what} is better and nothing else"
        yield finding("chosen_longer", "warn", longer, len(pairs), text, "pairs")


def pair_figures(rows: Sequence[tuple[str, Row]], shape: str) -> dict[str, Any]:
    """Number of pairs, of ties, and how often the longer answer is preferred."""
    pairs = list(pairs_of(rows, shape))
    if not pairs:
        return {}
    found: dict[str, Any] = {"pairs": len(pairs)}
    share = _longer_share(pairs)
    return found | ({"chosen_longer_share": share} if share is not None else {})


def pairs_of(rows: Sequence[tuple[str, Row]], shape: str) -> Iterator[_Pair]:
    """Every (better, worse) pair of answers in rows of a preference, ranking or tree; ties give none."""
    for place, row in rows:
        if shape == "preference":
            yield _Pair(place, prompt_text(row["prompt"]), answer_text(row["chosen"]), answer_text(row["rejected"]))
        elif shape in ("ranking", "tree"):
            for ranking in [row] if shape == "ranking" else rankings(row):
                answers, prompt = ranking["answers"], prompt_text(ranking["prompt"])
                yield from (_Pair(place, prompt, answers[a], answers[b]) for a, b in ordered(ranking))


def ordered(ranking: Row) -> Iterator[tuple[int, int]]:
    """(better, worse) numbers of answers of a ranking."""
    if "comparisons" in ranking:
        yield from ((better, worse) for better, worse, strength in ranking["comparisons"] if strength)
        return
    ranks = ranking["ranks"]
    for a, b in combinations(range(len(ranks)), 2):
        if ranks[a] != ranks[b]:
            yield (a, b) if ranks[a] < ranks[b] else (b, a)


def _longer_share(pairs: Sequence[_Pair]) -> float | None:
    """Of the pairs of different lengths, those whose longer answer is preferred."""
    unequal = [pair for pair in pairs if len(pair.better) != len(pair.worse)]
    return sum(len(pair.better) > len(pair.worse) for pair in unequal) / len(unequal) if unequal else None
