"""How good the labels are: agreement, self-consistency, known answers, side and time, careless annotators, open disagreements.

Figures of the project leave excluded annotators out; each annotator's own figures are there either way.
"""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from tuningfork.evals.agreement_statistics import (
    Agreement,
    cohens_kappa,
    fleiss_kappa,
    krippendorff_alpha,
    raw_agreement,
)
from tuningfork.evals.statistics import wilson_interval
from tuningfork.feedback import schema
from tuningfork.feedback.answers import TIE, Given
from tuningfork.feedback.careless import Test, find_careless, tally

MIN_COMMON = 10
"""Items two annotators must share before a kappa of the two is shown."""
SCALE = (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0)
"""How much better answer 0 is; see `Given.scale`."""


@dataclass(frozen=True)
class Share:
    """So many of so many, with Wilson's interval; both ends None without a case."""

    hits: int
    n: int

    @property
    def value(self) -> float | None:
        """The share; None without a case."""
        return self.hits / self.n if self.n else None

    @property
    def ci95(self) -> tuple[float, float] | None:
        """Wilson's interval."""
        return wilson_interval(self.hits, self.n) if self.n else None


@dataclass(frozen=True)
class Pace:
    """Seconds an answer takes: quartiles, and whether that changes over time or goes with quality."""

    quartiles: tuple[float, float, float]
    first_third: float
    """median of the first third of the answers, in the order given"""
    last_third: float
    fast_agree: Share
    """agreement with others and known answers, of the faster half of the answers"""
    slow_agree: Share


@dataclass(frozen=True)
class AnnotatorQuality:
    """One annotator."""

    name: str
    kind: str
    is_excluded: bool
    judgements: int
    gold: Share
    repeats: Share
    agreement: Share
    """comparisons with others about the same item that have the same answer"""
    left: Share
    """answers put first that stood on the left, of pairs that are no tie"""
    ties: Share
    pace: Pace | None
    tests: tuple[Test, ...]

    @property
    def alarms(self) -> list[Test]:
        """Reasons to look at this annotator."""
        return [test for test in self.tests if test.is_alarm]


@dataclass(frozen=True)
class Disagreement:
    """An item whose annotators do not agree."""

    item: str
    votes: tuple[tuple[str, int | str, float], ...]
    """(annotator, number of the answer put first or `tie`, strength), in the order given"""
    leader: int | str | None
    """what more than half of them say; None where nobody has more than half"""

    @property
    def spread(self) -> float:
        """How far apart the votes are, for what to look at first: 0 to 6 for a pair."""
        signed = [
            0.0 if best == TIE else (strength or 1.0) * (1 if best == 0 else -1) for _, best, strength in self.votes
        ]
        return max(signed) - min(signed)


@dataclass(frozen=True)
class Quality:
    """The quality of a labelling project."""

    judgements: int
    annotators: tuple[AnnotatorQuality, ...]
    items: int
    overlapping: Share
    """items with judgements of two annotators or more"""
    repeats: Share
    gold: Share
    left: Share
    agreement: tuple[Agreement, ...]
    """raw, Krippendorff's alpha (which answer; how much better), Fleiss's kappa where it is defined"""
    between: Mapping[tuple[str, str], Agreement]
    """Cohen's kappa of two annotators with enough items in common"""
    disagreements: tuple[Disagreement, ...]
    """settled ones last, within each kind the widest first"""


def measure(
    answers: Sequence[Given], *, excluded: Collection[str] = (), kinds: Mapping[str, str] | None = None, seed: int = 0
) -> Quality:
    """The quality of these judgements. `kinds`: annotator -> person, simulated ...; all persons where it is not given."""
    asked = [answer for answer in answers if answer.purpose != schema.TALK]
    tests = find_careless(asked)
    counts = tally(asked)
    own: dict[str, list[Given]] = defaultdict(list)
    for answer in asked:
        own[answer.annotator].append(answer)
    annotators = tuple(
        AnnotatorQuality(
            name=name,
            kind=(kinds or {}).get(name, "person"),
            is_excluded=name in excluded,
            judgements=len(own[name]),
            gold=Share(*counts[name].gold),
            repeats=Share(*counts[name].repeats),
            agreement=Share(*counts[name].agreement),
            left=Share(*counts[name].left),
            ties=Share(*counts[name].ties),
            pace=_pace(own[name], asked),
            tests=tuple(tests[name]),
        )
        for name in sorted(own)
    )
    kept = [answer for answer in asked if answer.annotator not in excluded]
    by_item = _by_item(kept)
    shared = {item: votes for item, votes in by_item.items() if len(votes) > 1}
    active = [one for one in annotators if not one.is_excluded]
    return Quality(
        judgements=len(kept),
        annotators=annotators,
        items=len(by_item),
        overlapping=Share(len(shared), len(by_item)),
        repeats=_total([one.repeats for one in active]),
        gold=_total([one.gold for one in active]),
        left=_total([one.left for one in active]),
        agreement=_agreement(shared, seed),
        between=_between(shared, seed),
        disagreements=_disagreements(shared),
    )


def _by_item(answers: Sequence[Given]) -> dict[str, dict[str, Given]]:
    """The ordinary judgements of each item by annotator."""
    found: dict[str, dict[str, Given]] = defaultdict(dict)
    for answer in answers:
        if answer.purpose == schema.ORDINARY:
            found[answer.item][answer.annotator] = answer
    return found


def _agreement(shared: Mapping[str, Mapping[str, Given]], seed: int) -> tuple[Agreement, ...]:
    bests = [[str(vote.best) for vote in votes.values()] for votes in shared.values()]
    pairs = [[vote.scale for vote in votes.values() if vote.is_pair] for votes in shared.values()]
    fleiss = fleiss_kappa(bests, seed=seed)
    return (
        raw_agreement(bests, seed=seed),
        krippendorff_alpha(bests, seed=seed),
        krippendorff_alpha(pairs, level="ordinal", categories=SCALE, seed=seed),
        *([fleiss] if len({len(row) for row in bests}) == 1 else []),
    )


def _between(shared: Mapping[str, Mapping[str, Given]], seed: int) -> dict[tuple[str, str], Agreement]:
    both: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
    for votes in shared.values():
        for one, other in combinations(sorted(votes), 2):
            both[one, other].append((str(votes[one].best), str(votes[other].best)))
    return {
        names: cohens_kappa([a for a, _ in rows], [b for _, b in rows], seed=seed, draws=500)
        for names, rows in sorted(both.items())
        if len(rows) >= MIN_COMMON
    }


def _disagreements(shared: Mapping[str, Mapping[str, Given]]) -> tuple[Disagreement, ...]:
    found = []
    for item, votes in shared.items():
        counts = Counter(vote.best for vote in votes.values())
        if len(counts) > 1:
            leader, most = counts.most_common(1)[0]
            given = tuple((name, vote.best, vote.strength) for name, vote in votes.items())
            found.append(Disagreement(item, given, leader if 2 * most > len(votes) else None))
    return tuple(sorted(found, key=lambda one: (one.leader is not None, -one.spread, one.item)))


def _pace(own: Sequence[Given], everybody: Sequence[Given]) -> Pace | None:
    """None without six answers whose time is known."""
    timed = [answer for answer in own if answer.seconds is not None]
    if len(timed) < 6:
        return None
    seconds = [answer.seconds or 0.0 for answer in timed]
    third = len(seconds) // 3
    quartiles = statistics.quantiles(seconds, n=4)
    fast, slow = [0, 0], [0, 0]
    for answer, right in _checked(timed, everybody):
        half = fast if (answer.seconds or 0.0) <= quartiles[1] else slow
        half[0] += right
        half[1] += 1
    return Pace(
        quartiles=(quartiles[0], quartiles[1], quartiles[2]),
        first_third=statistics.median(seconds[:third]),
        last_third=statistics.median(seconds[-third:]),
        fast_agree=Share(fast[0], fast[1]),
        slow_agree=Share(slow[0], slow[1]),
    )


def _checked(own: Sequence[Given], everybody: Sequence[Given]) -> list[tuple[Given, bool]]:
    """Each answer with whether it agrees: with the known answer, or with one other annotator after the other."""
    others: dict[str, list[Given]] = defaultdict(list)
    mine = {answer.item for answer in own}
    for answer in everybody:
        if answer.purpose == schema.ORDINARY and answer.annotator != own[0].annotator and answer.item in mine:
            others[answer.item].append(answer)
    found = []
    for answer in own:
        if answer.gold is not None:
            found.append((answer, answer.is_right))
        elif answer.purpose == schema.ORDINARY:
            found += [(answer, answer.best == other.best) for other in others[answer.item]]
    return found


def _total(shares: Sequence[Share]) -> Share:
    return Share(sum(share.hits for share in shares), sum(share.n for share in shares))
