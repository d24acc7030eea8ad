"""Who answers without looking? Tests of each annotator, against what an attentive one does or against the others.

    side        one side of the screen too often: sides are drawn at random, so an attentive annotator has none
    pattern     left and right alternate, or come in blocks (runs test of Wald and Wolfowitz 1940): the same reason
    ties        far more ties than the others give
    attention   known answers, hidden repeats and the answers of others: far fewer hits than the others have in each
    speed       nearly always faster than a third of the others' median

The p values of all annotators and tests are one family (Holm): among attentive annotators the chance of any false alarm is at most
`SIGNIFICANCE`. "Far" is a margin that a test has to exceed, so that many labels alone do not make a small difference an alarm.
Who gave an alarm is left out of "the others", and the tests are made again: two who guess do not excuse each other.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, groupby
from statistics import NormalDist

import numpy as np

from tuningfork.evals.statistics import holm
from tuningfork.feedback import schema
from tuningfork.feedback.answers import TIE, Given

SIGNIFICANCE = 0.05
"""Chance of a false alarm in a project of attentive annotators, at most."""
MARGIN = 0.05
"""How far below the others' share an annotator may be: people differ."""
SIDE_MARGIN = 0.05
TIE_MARGIN = 0.2
FAST = 1 / 3
MIN_OTHERS = 2
"""Annotators that are needed before anybody can be compared with the others."""
WEIGHTS = {"gold": 3, "repeats": 1, "agreement": 1}
"""What a hit counts in the test of attention: a known answer tells guessing from looking best."""
_NAMES = {"gold": "known answers", "repeats": "hidden repeats", "agreement": "answers of others"}
_PASSES = 4


@dataclass(frozen=True)
class Test:
    """One test of one annotator."""

    name: str
    hits: float
    n: int
    """answers it rests on"""
    expected: float
    """the share that would be no alarm"""
    p: float
    p_holm: float = 1.0
    text: str = ""

    @property
    def share(self) -> float:
        """What was found."""
        return self.hits / self.n

    @property
    def is_alarm(self) -> bool:
        """Whether the annotator should be looked at."""
        return self.p_holm <= SIGNIFICANCE


@dataclass(frozen=True)
class Tally:
    """What one annotator did, counted: successes and cases of each kind."""

    left: tuple[int, int]
    ties: tuple[int, int]
    gold: tuple[int, int]
    repeats: tuple[int, int]
    agreement: tuple[int, int]


def find_careless(answers: Sequence[Given]) -> dict[str, list[Test]]:
    """All tests of each annotator, those that need others only where there are some. Order of annotators: by name."""
    by_annotator: dict[str, list[Given]] = defaultdict(list)
    for answer in answers:
        by_annotator[answer.annotator].append(answer)
    suspects: frozenset[str] = frozenset()
    found: dict[str, list[Test]] = {}
    for _ in range(_PASSES):
        found = _tests(answers, by_annotator, suspects)
        alarmed = suspects | {name for name, tests in found.items() if any(test.is_alarm for test in tests)}
        if alarmed == suspects:
            break
        suspects = alarmed
    return found


def _tests(
    answers: Sequence[Given], by_annotator: Mapping[str, Sequence[Given]], suspects: Collection[str]
) -> dict[str, list[Test]]:
    """The tests of each annotator, compared with those who are no suspects."""
    tallies = tally(answers, suspects)
    tests: list[tuple[str, Test]] = []
    for name in sorted(by_annotator):
        others = [other for other in tallies if other != name and other not in suspects]
        tests += [(name, test) for test in _own_tests(by_annotator[name], tallies[name])]
        if len(others) >= MIN_OTHERS:
            tests += [(name, test) for test in _compared_tests(tallies[name], [tallies[other] for other in others])]
            tests += [(name, test) for test in _speed_test(by_annotator, name, others)]
    adjusted = holm([test.p for _, test in tests])
    found: dict[str, list[Test]] = {name: [] for name in sorted(by_annotator)}
    for (name, test), p in zip(tests, adjusted, strict=True):
        found[name].append(replace(test, p_holm=p))
    return found


def tally(answers: Sequence[Given], suspects: Collection[str] = ()) -> dict[str, Tally]:
    """Counts of each annotator. Agreement is over pairs of annotators on one item, suspects left out as the other one."""
    counts: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(lambda: [0, 0]))
    first: dict[tuple[str, str], Given] = {}
    by_item: dict[str, dict[str, Given]] = defaultdict(dict)

    def add(name: str, kind: str, hit: bool) -> None:
        counts[name][kind][0] += hit
        counts[name][kind][1] += 1

    for answer in answers:
        name = answer.annotator
        add(name, "ties", answer.best == TIE)
        if answer.is_pair and answer.best != TIE:
            add(name, "left", answer.place == 0)
        if answer.purpose == schema.ORDINARY:
            first[name, answer.item] = answer
            by_item[answer.item][name] = answer
        if answer.purpose == schema.GOLD and answer.gold is not None:
            add(name, "gold", answer.is_right)
        if answer.purpose == schema.REPEAT and (name, answer.item) in first:
            add(name, "repeats", answer.best == first[name, answer.item].best)
    for item in by_item.values():
        for (one, a), (other, b) in combinations(item.items(), 2):
            for name, partner in ((one, other), (other, one)):
                if partner not in suspects:
                    add(name, "agreement", a.best == b.best)
    kinds = ("left", "ties", "gold", "repeats", "agreement")
    return {name: Tally(*((found[kind][0], found[kind][1]) for kind in kinds)) for name, found in counts.items()}


def _own_tests(answers: Sequence[Given], counts: Tally) -> list[Test]:
    tests = []
    left, n = counts.left
    if n:
        p = min(1.0, 2 * min(at_most(left, n, 0.5 - SIDE_MARGIN), at_most(n - left, n, 0.5 - SIDE_MARGIN)))
        side = "left" if 2 * left >= n else "right"
        chosen = max(left, n - left)
        tests.append(Test("side", chosen, n, 0.5, p, text=f"chose the {side} side {chosen} times of {n}"))
    places = [answer.place for answer in answers if answer.is_pair and answer.best != TIE]
    runs = sum(1 for _ in groupby(places))
    if len(places) >= 20 and 0 < sum(place == 0 for place in places) < len(places):
        text = f"{runs} changes of side in {len(places)} answers"
        tests.append(Test("pattern", runs, len(places), 0.5, runs_test(places), text=text))
    return tests


def _compared_tests(mine: Tally, others: Sequence[Tally]) -> list[Test]:
    tests = []
    ties, n = mine.ties
    usual = _typical([other.ties for other in others])
    if n and usual is not None:
        limit = min(1.0, usual + TIE_MARGIN)
        text = f"{ties} ties of {n}; the others have {usual:.0%}"
        tests.append(Test("ties", ties, n, usual, at_most(n - ties, n, 1 - limit), text=text))
    return tests + _attention_test(mine, others)


def _attention_test(mine: Tally, others: Sequence[Tally]) -> list[Test]:
    """Weighted hits among known answers, repeats and answers of others; exact under the others' shares less the margin."""
    parts, words = [], []
    for kind, weight in WEIGHTS.items():
        hits, n = getattr(mine, kind)
        usual = _typical([getattr(other, kind) for other in others])
        if n and usual is not None:
            parts.append((hits, n, max(0.0, usual - MARGIN), weight))
            words.append(f"{hits} of {n} {_NAMES[kind]} (the others {usual:.0%})")
    if not parts:
        return []
    hits, n = (sum(part[column] for part in parts) for column in (0, 1))
    expected = sum(n * chance for _, n, chance, _ in parts) / n
    return [Test("attention", hits, n, expected, weighted_at_most(parts), text="hit " + ", ".join(words))]


def _speed_test(by_annotator: Mapping[str, Sequence[Given]], name: str, others: Sequence[str]) -> list[Test]:
    """Sign test: answers below a third of the others' median time, against one of two."""
    medians = [
        statistics.median(times)
        for other in others
        if (times := [answer.seconds for answer in by_annotator[other] if answer.seconds is not None])
    ]
    own = [answer.seconds for answer in by_annotator[name] if answer.seconds is not None]
    if len(medians) < MIN_OTHERS or not own:
        return []
    usual = statistics.median(medians)
    fast = sum(seconds < FAST * usual for seconds in own)
    text = f"{fast} of {len(own)} answers in less than a third of the others' {usual:.1f} s"
    return [Test("speed", fast, len(own), 0.5, at_most(len(own) - fast, len(own), 0.5), text=text)]


def _typical(counts: Sequence[tuple[int, int]]) -> float | None:
    """The median share of the others: half of them may be careless without moving it far. None of too few."""
    shares = [hits / n for hits, n in counts if n]
    return statistics.median(shares) if len(shares) >= MIN_OTHERS else None


def at_most(hits: int, n: int, chance: float) -> float:
    """P(at most `hits` successes in n trials of this chance)."""
    return min(1.0, float(binomial(n, chance)[: hits + 1].sum()))


def weighted_at_most(parts: Sequence[tuple[int, int, float, int]]) -> float:
    """P(the weighted hits are as few as these or fewer), of (hits, n, chance, weight) of independent kinds; exact."""
    total = np.ones(1)
    for _, n, chance, weight in parts:
        spread = np.zeros(n * weight + 1)
        spread[::weight] = binomial(n, chance)
        total = np.convolve(total, spread)
    reached = sum(hits * weight for hits, _, _, weight in parts)
    return min(1.0, float(total[: reached + 1].sum()))


def binomial(n: int, chance: float) -> np.ndarray:
    """P(k successes in n trials) for k = 0 .. n."""
    if chance in (0.0, 1.0):
        return np.eye(n + 1)[0 if chance == 0 else n]
    k = np.arange(n + 1)
    ways = np.array([math.lgamma(i + 1) for i in range(n + 1)])
    return np.exp(ways[n] - ways - ways[::-1] + k * math.log(chance) + (n - k) * math.log1p(-chance))


def runs_test(places: Sequence[object]) -> float:
    """Two-sided p of as many runs in a sequence of two kinds, given how often each occurs (normal, with continuity)."""
    counts = list(Counter(places).values())
    assert len(counts) == 2, "a sequence of two kinds"
    a, b = counts
    n, runs = a + b, sum(1 for _ in groupby(places))
    mean = 1 + 2 * a * b / n
    deviation = math.sqrt((mean - 1) * (mean - 2) / (n - 1))
    if deviation == 0:
        return 1.0
    distance = max(0.0, abs(runs - mean) - 0.5) / deviation
    return 2 * (1 - NormalDist().cdf(distance))
