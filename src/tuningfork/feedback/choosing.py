"""Which pairs to ask people about next, from what a reward model says of those that nobody has judged. No torch.

    random         every pair alike; what all others are compared with
    uncertainty    the reward model is least sure: the highest entropy of P(first is better) (Lewis and Gale 1994)
    disagreement   members of an ensemble disagree though each is sure: the highest mutual information of answer and member
                   (BALD; Houlsby et al. 2011, 1112.5745). Pairs that are a tie to everybody have none, unlike above
    diversity      far from each other and from what was judged: farthest point first (Sener and Savarese 2018, 1708.00489)

A pair and its mirror image ask the same, so a difference of features has no sign here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from tuningfork.randomness import numpy_generator

Strategy = Literal["random", "uncertainty", "disagreement", "diversity"]
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)


@dataclass(frozen=True)
class Pool:
    """N pairs that nobody has judged, as a reward model sees them."""

    margins: np.ndarray
    """(N,) score of the first answer less that of the second"""
    member_margins: np.ndarray | None = None
    """(M, N) the same by each member of an ensemble"""
    features: np.ndarray | None = None
    """(N, D) features of the first answer less those of the second"""
    judged_features: np.ndarray | None = None
    """(L, D) the same of pairs that were judged"""


def choose(strategy: Strategy, pool: Pool, count: int, *, seed: int, round_number: int = 0) -> list[int]:
    """Numbers of at most `count` pairs to ask about, the most wanted first. Equal ones in an order drawn from the seed."""
    size = len(pool.margins)
    order = numpy_generator(seed, "choose", strategy, round_number).permutation(size)
    if strategy == "random":
        return order[:count].tolist()
    if strategy == "diversity":
        return _farthest_first(_required(pool.features, "features", strategy), pool.judged_features, order, count)
    wanted = priorities(strategy, pool)
    return order[np.argsort(-wanted[order], kind="stable")][:count].tolist()


def priorities(strategy: Strategy, pool: Pool) -> np.ndarray:
    """How much each pair is wanted, (N,), in bits: `uncertainty` up to 1, `disagreement` up to 1. The others have an order only."""
    if strategy == "uncertainty":
        return entropy(probability(pool.margins))
    if strategy == "disagreement":
        shares = probability(_required(pool.member_margins, "member_margins", strategy))
        return np.maximum(0.0, entropy(shares.mean(0)) - entropy(shares).mean(0))
    raise ValueError(f"{strategy} gives an order, not a number for each pair")


def probability(margins: np.ndarray) -> np.ndarray:
    """P(first is better) by Bradley and Terry: 1 / (1 + exp(-margin))."""
    return 0.5 * (1 + np.tanh(0.5 * np.asarray(margins, dtype=np.float64)))


def entropy(share: np.ndarray) -> np.ndarray:
    """Entropy in bits of a yes-or-no answer with this chance."""
    inside = np.clip(share, 1e-300, 1 - 1e-16)
    return -(inside * np.log2(inside) + (1 - inside) * np.log2(1 - inside))


def bootstrap_heads(differences: np.ndarray, count: int, *, seed: int, ridge: float = 1.0) -> np.ndarray:
    """`count` linear heads (M, D), each fitted to a resample of judged pairs: an ensemble that shares one trunk.

    differences (n, D): features of the better answer less those of the worse one, on a common scale of about 1. A head
    maximises sum log sigmoid(w . x) - ridge / 2 |w|^2 (Newton's method, to convergence).
    """
    rows = np.asarray(differences, dtype=np.float64)
    heads = np.empty((count, rows.shape[1]))
    for member in range(count):
        picks = numpy_generator(seed, "head", member).integers(len(rows), size=len(rows))
        heads[member] = fit_head(rows[picks], ridge)
    return heads


def fit_head(differences: np.ndarray, ridge: float) -> np.ndarray:
    """The head (D,) of pairs (n, D); see `bootstrap_heads`."""
    weights = np.zeros(differences.shape[1])
    for _ in range(50):
        share = probability(differences @ weights)
        gradient = differences.T @ (1 - share) - ridge * weights
        hessian = (differences * (share * (1 - share))[:, None]).T @ differences + ridge * np.eye(len(weights))
        step = np.linalg.solve(hessian, gradient)
        weights = weights + step
        if float(np.abs(step).max()) < 1e-8:
            break
    return weights


def _farthest_first(features: np.ndarray, judged: np.ndarray | None, order: np.ndarray, count: int) -> list[int]:
    """Greedy k-centre: each next pair is the farthest from all judged and chosen ones."""
    points = np.asarray(features, dtype=np.float64)[order]
    nearest = np.full(len(points), np.inf)
    for one in () if judged is None else np.asarray(judged, dtype=np.float64):
        nearest = np.minimum(nearest, _distances(points, one))
    chosen: list[int] = []
    while len(chosen) < min(count, len(points)):
        place = int(np.argmax(nearest))
        chosen.append(int(order[place]))
        nearest = np.minimum(nearest, _distances(points, points[place]))
        nearest[place] = -1.0
    return chosen


def _distances(points: np.ndarray, one: np.ndarray) -> np.ndarray:
    """Squared distances (N,) of pairs to one pair or to its mirror image, whichever is nearer; chosen ones keep -1."""
    both = (points**2).sum(1) + one @ one
    return np.maximum(0.0, both - 2 * np.abs(points @ one))


def _required(value: np.ndarray | None, name: str, strategy: Strategy) -> np.ndarray:
    if value is None:
        raise ValueError(f"{strategy} needs {name}")
    return value
