"""Best of n against counting all subsets, and its identities."""

import math
import random
from itertools import combinations, pairwise, permutations

import pytest
from checks import close

from tuningfork.methods.best_of import chosen_shares, expected_best, kl_bound


def test_worked_example() -> None:
    # scores 1, 2, 4; pairs {1,2} {1,4} {2,4} have the largest 2, 4, 4: mean 10 / 3. Gold of the chosen: 7, 1, 1.
    close(expected_best([4.0, 1.0, 2.0], 2), 10 / 3)
    close(expected_best([4.0, 1.0, 2.0], 2, [1.0, 9.0, 7.0]), 9 / 3)
    close(chosen_shares([4.0, 1.0, 2.0], 2), [2 / 3, 0.0, 1 / 3])
    close(kl_bound(4), 1.3862943611198906 - 0.75)


@pytest.mark.parametrize("seed", range(4))
def test_against_all_subsets(seed: int) -> None:
    numbers = random.Random(seed)
    scores = [numbers.gauss(0, 1) for _ in range(7)]
    gold = [numbers.gauss(0, 1) for _ in range(7)]
    for n in range(1, 8):
        subsets = list(combinations(range(7), n))
        best = [max(subset, key=scores.__getitem__) for subset in subsets]
        close(expected_best(scores, n), sum(scores[place] for place in best) / len(best))
        close(expected_best(scores, n, gold), sum(gold[place] for place in best) / len(best))


def test_ties_are_broken_at_random() -> None:
    scores, gold = [2.0, 1.0, 2.0, 2.0, 0.0], [0.1, 0.2, 0.5, 0.9, 0.4]
    for n in range(1, 6):
        total, count = 0.0, 0
        for order in permutations(range(5)):  # which of the equal ones comes first is as likely as any other
            drawn = order[:n]
            total += gold[max(drawn, key=lambda place: scores[place])]
            count += 1
        close(expected_best(scores, n, gold), total / count)


def test_best_of_one_is_the_mean_and_best_of_all_the_largest() -> None:
    scores = [0.3, -2.0, 5.0, 1.0]
    close(expected_best(scores, 1), sum(scores) / 4)
    close(expected_best(scores, 4), 5.0)
    close(expected_best(scores, 4, [1.0, 2.0, 3.0, 4.0]), 3.0)


def test_it_never_falls_with_n_and_shares_add_up() -> None:
    numbers = random.Random(5)
    scores = [round(numbers.gauss(0, 1), 1) for _ in range(40)]
    curve = [expected_best(scores, n) for n in range(1, 41)]
    assert all(later >= earlier - 1e-12 for earlier, later in pairwise(curve))
    for n in (1, 2, 17, 40):
        close(math.fsum(chosen_shares(scores, n)), 1.0)


def test_order_of_the_responses_does_not_matter() -> None:
    scores, gold = [3.0, 1.0, 2.0, 2.0], [0.0, 1.0, 2.0, 5.0]
    order = [2, 0, 3, 1]
    moved = expected_best([scores[i] for i in order], 2, [gold[i] for i in order])
    close(moved, expected_best(scores, 2, gold))


@pytest.mark.parametrize("n", [0, 4])
def test_n_beyond_the_batch_is_refused(n: int) -> None:
    with pytest.raises(ValueError, match=f"the best of {n} needs"):
        chosen_shares([1.0, 2.0, 3.0], n)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_the_bound_is_the_kl_of_the_density_of_the_largest(n: int) -> None:
    # The quantile u of the best of n has density n u^(n-1); its KL to the uniform one, by the midpoint rule.
    steps = 200_000
    middle = [(i + 0.5) / steps for i in range(steps)]
    density = [n * u ** (n - 1) for u in middle]
    close(kl_bound(n), sum(d * math.log(d) for d in density) / steps, 1e-6)


def test_the_bound_holds_where_responses_repeat() -> None:
    shares = [0.7, 0.2, 0.1]  # scores in this order, rising; the best of 3 has the cumulative share cubed
    n, below, kl = 3, 0.0, 0.0
    for share in shares:
        chosen = (below + share) ** n - below**n
        kl += chosen * math.log(chosen / share)
        below += share
    assert 0 < kl < kl_bound(n)
    assert kl_bound(1) == 0.0


def test_values_stand_beside_all_scores() -> None:
    with pytest.raises(ValueError, match="shorter"):
        expected_best([1.0, 2.0, 3.0], 2, [1.0, 2.0])
