"""Statistical rejection sampling: acceptance, its limits, and what it converges to."""

import math
import random
from collections import Counter
from itertools import pairwise

import pytest
from checks import close
from pydantic import ValidationError

from tuningfork.methods.selection import statistical
from tuningfork.methods.selection.statistical import Settings, accept


def listed(*numbers: float):  # type: ignore[no-untyped-def]
    source = iter(numbers)
    return lambda: next(source)


def test_worked_example() -> None:
    # beta 0.5, highest 1: exp(0) = 1, exp(-1) = .368, exp(-2) = .135. Draws .5 (taken), .4 (not), .1 (taken).
    assert accept([1.0, 0.5, 0.0], listed(0.5, 0.4, 0.1), Settings(keep=2)) == [0, 2]
    # One more is wanted: now .5 is the highest that is left, and is surely taken.
    assert accept([1.0, 0.5, 0.0], listed(0.5, 0.4, 0.1, 0.99), Settings(keep=3)) == [0, 1, 2]
    assert accept([1.0, 0.5, 0.0], listed(0.5), Settings(keep=1)) == [0]


def test_against_the_algorithm_of_the_paper() -> None:
    def by_the_paper(scores: list[float], uniform, keep: int, beta: float) -> list[int]:  # type: ignore[no-untyped-def]
        candidates, accepted = dict(enumerate(scores)), []
        while len(accepted) < keep and candidates:
            max_reward = max(candidates.values())
            to_remove = []
            for c, r in candidates.items():
                if uniform() >= math.exp((r - max_reward) / beta):
                    continue
                accepted.append(c)
                to_remove.append(c)
                if len(accepted) == keep:
                    break
            for c in to_remove:
                candidates.pop(c)
        return sorted(accepted)

    numbers = random.Random(0)
    for trial in range(50):
        scores = [numbers.gauss(0, 1) for _ in range(1 + trial % 9)]
        for keep in (1, 3, 20):
            expected = by_the_paper(scores, random.Random(trial).random, keep, 0.7)
            assert accept(scores, random.Random(trial).random, Settings(beta=0.7, keep=keep)) == expected


def test_the_first_acceptance_has_the_stated_probability() -> None:
    scores, beta, trials = [0.0, 0.4, 1.0], 0.6, 40_000
    uniform = random.Random(1).random
    counts: Counter[int] = Counter()
    for _ in range(trials):
        # keep is never reached in one round where the highest comes last, so every place gets its own draw
        draws = [uniform() for _ in scores]
        taken = [place for place, draw in enumerate(draws) if draw < math.exp((scores[place] - 1.0) / beta)]
        first = accept(scores, listed(*draws, *[0.999999] * 6), Settings(beta=beta, keep=len(taken)))
        assert first == taken
        counts.update(first)
    for place, score in enumerate(scores):
        expected = math.exp((score - 1.0) / beta)
        assert abs(counts[place] / trials - expected) < 4 * math.sqrt(expected * (1 - expected) / trials) + 1e-12


def test_what_is_kept_of_many_is_the_tilted_distribution() -> None:
    # Four kinds of response with shares p and scores r: among the accepted, p exp(r / beta) / Z.
    share, score, beta = [0.4, 0.3, 0.2, 0.1], [0.0, 0.5, 1.0, 1.2], 0.5
    numbers = random.Random(2)
    kinds = numbers.choices(range(4), share, k=60_000)
    best = max(score)
    # One round of a large pool: as many are kept as that round accepts.
    wanted = sum(p * math.exp((r - best) / beta) for p, r in zip(share, score, strict=True)) * len(kinds)
    kept = accept([score[kind] for kind in kinds], numbers.random, Settings(beta=beta, keep=int(0.9 * wanted)))
    counts = Counter(kinds[place] for place in kept)
    weights = [p * math.exp(r / beta) for p, r in zip(share, score, strict=True)]
    for kind in range(4):
        assert abs(counts[kind] / len(kept) - weights[kind] / sum(weights)) < 0.02


def test_limits_of_beta() -> None:
    scores = [0.1, 3.0, 2.0, -1.0]
    assert accept(scores, random.Random(0).random, Settings(beta=1e-6, keep=1)) == [1]
    assert accept(scores, random.Random(0).random, Settings(beta=1e-6, keep=2)) == [1, 2]
    assert accept(scores, lambda: 0.999, Settings(beta=1e6, keep=4)) == [0, 1, 2, 3]
    assert accept(scores, lambda: 0.999, Settings(beta=1e6, keep=2)) == [0, 1], "as they were drawn"


def test_a_shift_of_the_scores_changes_nothing() -> None:
    scores = [0.25, 1.5, -0.75, 1.0]
    for seed in range(20):
        one = accept(scores, random.Random(seed).random, Settings(keep=2))
        assert one == accept([score + 8 for score in scores], random.Random(seed).random, Settings(keep=2))
        assert len(one) == 2 and all(a < b for a, b in pairwise(one))


def test_prompts_draw_from_their_own_numbers() -> None:
    groups = [[0.0, 1.0, 0.5], [2.0, 2.1]]
    both = statistical.select(groups, [random.Random(3).random, random.Random(4).random], Settings(keep=1))
    swapped = statistical.select(groups[::-1], [random.Random(4).random, random.Random(3).random], Settings(keep=1))
    assert both == swapped[::-1]
    assert statistical.select([[]], [random.Random(0).random], Settings()) == [[]]
    close(Settings().beta, 0.5)


@pytest.mark.parametrize("values", [{"keep": 0}, {"beta": 0.0}])
def test_settings_that_make_no_sense_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate(values)


def test_defaults_and_a_draw_for_each_prompt() -> None:
    assert (Settings().beta, Settings().keep) == (0.5, 8)
    with pytest.raises(ValueError, match="shorter"):
        statistical.select([[1.0, 2.0], [1.0, 3.0]], [lambda: 0.5], Settings())


def test_a_draw_on_the_boundary_rejects() -> None:
    # exp((0.5 - 1) / 0.5) = exp(-1), and probability exp(-1) is that of draws below it
    assert accept([0.5, 1.0], listed(math.exp(-1.0), 0.99), Settings(keep=1)) == [1]
