"""Best of n: the response of n that a reward likes most. How far that goes from the model, and what it earns.

A batch of N >= n responses to a prompt gives the expectation for every n <= N without bias (Nakano et al. 2021,
2112.09332, appendix I): the i-th smallest of N scores is the largest of n drawn without replacement with probability
C(i-1, n-1) / C(N, n). What a gold judge thinks of the chosen response is averaged with the same weights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby

from tuningfork.methods import about


def kl_bound(n: int) -> float:
    """log n - (n - 1) / n: nats from the model to its best of n (Stiennon et al. 2020, 2009.01325, appendix G.3).

    Exact where no two responses have one score, else an upper bound (Beirami et al. 2024, 2401.01879): loose for a
    model that is sure of what it says.
    """
    return math.log(n) - (n - 1) / n


def chosen_shares(scores: Sequence[float], n: int) -> list[float]:
    """For each of N scores of one prompt how likely it is the best of n drawn without replacement; they add up to 1.

    Equal scores share their chances, as if ties were broken at random. ValueError unless 1 <= n <= N.
    """
    count = len(scores)
    if not 1 <= n <= count:
        raise ValueError(f"the best of {n} needs at least as many scores, not {count}")
    order = sorted(range(count), key=scores.__getitem__)
    subsets = math.comb(count, n)
    shares, below = [0.0] * count, 0
    for _, tied in groupby(order, key=scores.__getitem__):
        places = list(tied)
        upto = below + len(places)
        # Subsets whose largest is this score: all of what is not above it, less those without it.
        share = (math.comb(upto, n) - math.comb(below, n)) / subsets / len(places)
        for place in places:
            shares[place] = share
        below = upto
    return shares


def expected_best(scores: Sequence[float], n: int, values: Sequence[float] | None = None) -> float:
    """Expected value of the best of n by `scores`: of the score itself, or of `values` that stand beside the scores."""
    shares = chosen_shares(scores, n)
    return math.fsum(share * value for share, value in zip(shares, scores if values is None else values, strict=True))


ABOUT = about.About(
    title="Best of n",
    summary="takes the best of n samples by the reward; nothing is trained",
    papers=(
        "2009.01325",
        "2112.09332",
    ),
    loss="the highest score of n; nothing is trained",
    columns={"compared": "within a prompt"},
    defaults={
        "samples": "own choice; 64 in 2112.09332",
    },
)
