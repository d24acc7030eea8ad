"""Plackett-Luce and pick-best against plain loops; prompts of different K, ties, direction."""

import math

import pytest
import torch
from checks import close, differentiate, gradient, ragged
from torch import Tensor

from tuningfork.methods.listwise import ranking_loss
from tuningfork.methods.pairwise import Settings, pair_loss

LUCE, BEST = Settings(form="plackett_luce"), Settings(form="pick_best")
FORMS = [LUCE, BEST, Settings(form="plackett_luce", centring=0.02), Settings(form="pick_best", centring=0.1)]


def grid(rows: list[list[float]], fill: float = 0.0) -> tuple[Tensor, Tensor]:
    """(B, K) values and which of them are there."""
    width = max(len(row) for row in rows)
    values = torch.tensor([row + [fill] * (width - len(row)) for row in rows], dtype=torch.float64)
    present = torch.tensor([[True] * len(row) + [False] * (width - len(row)) for row in rows])
    return values, present


def losses_of(scores: list[list[float]], places: list[list[int]], settings: Settings) -> Tensor:
    values, present = grid(scores, fill=7.0)
    return ranking_loss(values, grid([[float(p) for p in row] for row in places])[0], present, settings)[0]


def scalar(scores: list[float], places: list[int], settings: Settings) -> float:
    """One choice after another, written from the papers."""
    centre = settings.centring * (2 * sum(scores) / len(scores)) ** 2
    if settings.form == "pick_best":
        best = [s for s, p in zip(scores, places, strict=True) if p == min(places)]
        if len(best) == len(scores):
            return centre
        return math.log(sum(map(math.exp, scores))) - math.log(sum(map(math.exp, best))) + centre
    stages = []
    for s, p in zip(scores, places, strict=True):
        worse = [t for t, q in zip(scores, places, strict=True) if q > p]
        if worse:
            stages.append(-math.log(math.exp(s) / (math.exp(s) + sum(map(math.exp, worse)))))
    return (sum(stages) / len(stages) if stages else 0.0) + centre


def test_worked_example() -> None:
    # worths 6, 3, 1: the best is chosen first with 6/10, then the second of the rest with 3/4
    worths = [[math.log(6.0), math.log(3.0), 0.0]]
    close(losses_of(worths, [[1, 2, 3]], LUCE), [-(math.log(0.6) + math.log(0.75)) / 2])
    close(losses_of(worths, [[1, 2, 3]], BEST), [-math.log(0.6)])
    # two that share the first place: either may be picked, 9/10; each stands against the third alone, 6/7 and 3/4
    close(losses_of(worths, [[1, 1, 2]], BEST), [-math.log(0.9)])
    close(losses_of(worths, [[1, 1, 2]], LUCE), [-(math.log(6 / 7) + math.log(0.75)) / 2])


@pytest.mark.parametrize("settings", FORMS)
def test_values_and_gradients_match_loops_on_prompts_of_different_k(settings: Settings) -> None:
    scores = ragged(1, [4, 2, 3, 5, 3])
    places = [[2, 1, 4, 3], [2, 1], [1, 1, 2], [3, 1, 2, 2, 4], [1, 1, 1]]
    expected = [scalar(s, p, settings) for s, p in zip(scores, places, strict=True)]
    close(losses_of(scores, places, settings), expected)
    values, present = grid(scores, fill=3.0)
    target = grid([[float(p) for p in row] for row in places])[0]
    slopes = gradient(lambda x: ranking_loss(x, target, present, settings)[0].sum(), values)

    def total(rows: list[list[float]]) -> float:
        return sum(scalar(s, p, settings) for s, p in zip(rows, places, strict=True))

    assert bool((slopes[~present] == 0).all())
    for row, wanted in zip(slopes, differentiate(total, scores), strict=True):
        close(row[: len(wanted)], wanted)


@pytest.mark.parametrize("settings", [LUCE, BEST, Settings(form="plackett_luce", centring=0.3)])
def test_two_responses_are_bradley_terry(settings: Settings) -> None:
    scores = torch.tensor([[0.4, -1.2], [0.3, 0.9]], dtype=torch.float64)
    places = torch.tensor([[1.0, 2.0], [2.0, 1.0]])
    ours, metrics = ranking_loss(scores, places, torch.ones(2, 2, dtype=torch.bool), settings)
    chosen, rejected = torch.stack([scores[0, 0], scores[1, 1]]), torch.stack([scores[0, 1], scores[1, 0]])
    wanted, theirs = pair_loss(chosen, rejected, torch.zeros(2), Settings(centring=settings.centring))
    close(ours, wanted)
    close(metrics["accuracy"], theirs["accuracy"])


@pytest.mark.parametrize("settings", [LUCE, BEST])
def test_what_is_not_there_and_the_order_of_responses_do_not_matter(settings: Settings) -> None:
    wide = losses_of([[0.1, 0.5, -1.0], [0.3, 0.2, 0.1, 0.7]], [[1, 3, 2], [1, 2, 3, 4]], settings)
    close(wide[:1], losses_of([[0.1, 0.5, -1.0]], [[1, 3, 2]], settings))
    close(wide[1:], losses_of([[0.7, 0.1, 0.3, 0.2]], [[4, 3, 1, 2]], settings))
    close(losses_of([[0.1 + 9, 9.5, 8.0]], [[1, 3, 2]], settings), wide[:1], 1e-12)


def test_all_tied_teaches_nothing_and_far_scores_stay_finite() -> None:
    values = torch.tensor([[0.3, 0.9, 7.0]], dtype=torch.float64)
    present = torch.tensor([[True, True, False]])
    tied = torch.ones(1, 3)
    for settings in (LUCE, BEST):
        close(gradient(lambda x, s=settings: ranking_loss(x, tied, present, s)[0].sum(), values), [[0.0, 0.0, 0.0]])
        close(ranking_loss(values, tied, present, settings)[1]["accuracy"], [0.0])
        far = gradient(
            lambda x, s=settings: ranking_loss(x, torch.tensor([[1.0, 2.0, 3.0]]), torch.ones(1, 3).bool(), s)[0].sum(),
            torch.tensor([[-800.0, 0.0, 800.0]]),
        )
        assert bool(far.isfinite().all()) and far[0, 0] < 0 < far[0, 2]


def test_accuracy_counts_ordered_pairs() -> None:
    values, present = grid([[3.0, 1.0, 2.0], [1.0, 1.0]])
    places = torch.tensor([[1.0, 2.0, 3.0], [1.0, 2.0, 0.0]])
    close(ranking_loss(values, places, present, LUCE)[1]["accuracy"], [2 / 3, 0.5])


@pytest.mark.parametrize(
    "settings", [Settings(form="plackett_luce", centring=0.1), Settings(form="pick_best", centring=0.1)]
)
def test_a_single_response_is_centred_and_no_more(settings: Settings) -> None:
    # mean 3, twice that squared is 36, a tenth of it 3.6
    close(losses_of([[3.0]], [[1]], settings), [3.6])


@pytest.mark.parametrize("settings", [LUCE, BEST])
def test_a_step_down_the_gradient_raises_the_best(settings: Settings) -> None:
    scores, places, present = torch.zeros(1, 3), torch.tensor([[2.0, 1.0, 3.0]]), torch.ones(1, 3).bool()
    slopes = gradient(lambda x: ranking_loss(x, places, present, settings)[0].sum(), scores)
    assert slopes[0, 1] < 0 < slopes[0, 2]
    metrics = ranking_loss(scores.requires_grad_(), places, present, settings)[1]
    assert not metrics["loss"].requires_grad and not metrics["accuracy"].requires_grad
