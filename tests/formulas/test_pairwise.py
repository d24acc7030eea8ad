"""Bradley-Terry and logistic losses against plain loops; margins, ties, weights."""

import math
from typing import Any

import pytest
import torch
from checks import close, differentiate, gradient, ragged
from pydantic import ValidationError
from torch import Tensor

from tuningfork.methods.pairwise import Settings, label_loss, pair_loss, pair_weights

PLAIN = Settings()


def vector(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def scalar_pair_loss(chosen: float, rejected: float, margin: float, smoothing: float, centring: float) -> float:
    difference = chosen - rejected
    right, flipped = math.log(sigmoid(difference - margin)), math.log(sigmoid(-difference - margin))
    return -(1 - smoothing) * right - smoothing * flipped + centring * (chosen + rejected) ** 2


def test_worked_example() -> None:
    # difference log 3: the chosen one wins with probability 3/4
    losses, metrics = pair_loss(vector(math.log(3.0), 1.0), vector(0.0, 1.0), vector(0.0, 0.0), PLAIN)
    close(losses, [-math.log(0.75), math.log(2.0)])
    close(metrics["loss"], losses)
    close(metrics["accuracy"], [1.0, 0.5])
    close(metrics["score_difference"], [math.log(3.0), 0.0])


@pytest.mark.parametrize(
    "settings", [PLAIN, Settings(label_smoothing=0.1), Settings(label_smoothing=0.2, centring=0.01)]
)
def test_pair_loss_and_gradient_match_loops(settings: Settings) -> None:
    chosen, rejected, margins = ragged(1, [6, 6, 6])

    def scalar(rows: list[list[float]]) -> float:
        return sum(
            scalar_pair_loss(c, r, m, settings.label_smoothing, settings.centring)
            for c, r, m in zip(rows[0], rows[1], margins, strict=True)
        )

    def ours(scores: Tensor) -> Tensor:
        return pair_loss(scores[0], scores[1], vector(*margins), settings)[0].sum()

    scores = torch.tensor([chosen, rejected], dtype=torch.float64)
    close(ours(scores), scalar([chosen, rejected]))
    close(gradient(ours, scores), differentiate(scalar, [chosen, rejected]))


def test_gradient_is_the_probability_of_the_wrong_order() -> None:
    slopes = gradient(lambda s: pair_loss(s[:1], s[1:], vector(0.0), PLAIN)[0].sum(), vector(0.7, 0.2))
    close(slopes, [-sigmoid(-0.5), sigmoid(-0.5)])


def test_swapping_the_two_turns_the_difference() -> None:
    a, b, zero = vector(0.3, -1.0), vector(1.1, 0.4), vector(0.0, 0.0)
    close(pair_loss(a, b, zero, PLAIN)[1]["score_difference"], -pair_loss(b, a, zero, PLAIN)[1]["score_difference"])
    # probabilities of the two orders sum to 1
    close((-pair_loss(a, b, zero, PLAIN)[0]).exp() + (-pair_loss(b, a, zero, PLAIN)[0]).exp(), [1.0, 1.0])


def test_a_margin_raises_the_loss_and_leaves_the_accuracy() -> None:
    margins = vector(0.0, 1.0, 2.0, 3.0)
    losses, metrics = pair_loss(vector(1.5, 1.5, 1.5, 1.5), vector(0.0, 0.0, 0.0, 0.0), margins, PLAIN)
    assert bool((losses.diff() > 0).all())
    close(losses, [-math.log(sigmoid(1.5 - m)) for m in (0, 1, 2, 3)])
    close(metrics["accuracy"], [1.0, 1.0, 1.0, 1.0])


def test_a_shift_of_all_scores_matters_only_to_centring() -> None:
    a, b, zero = vector(0.3), vector(1.1), vector(0.0)
    close(pair_loss(a + 5, b + 5, zero, PLAIN)[0], pair_loss(a, b, zero, PLAIN)[0], 1e-12)
    centred = Settings(centring=0.01)
    # (5.3 + 6.1)^2 - (0.3 + 1.1)^2 = 129.96 - 1.96 = 128
    close(pair_loss(a + 5, b + 5, zero, centred)[0] - pair_loss(a, b, zero, centred)[0], [1.28])


def test_smoothed_minimum_lies_where_the_flip_rate_says() -> None:
    best = vector(math.log(0.9 / 0.1))  # sigma(d) = 1 - e
    smooth = Settings(label_smoothing=0.1)
    close(gradient(lambda c: pair_loss(c, vector(0.0), vector(0.0), smooth)[0].sum(), best), [0.0])


def test_far_scores_stay_finite() -> None:
    losses, _ = pair_loss(torch.tensor([-500.0, 500.0]), torch.tensor([500.0, -500.0]), torch.zeros(2), PLAIN)
    close(losses, [1000.0, 0.0])


def test_order_of_pairs_does_not_matter() -> None:
    a, b, m = (vector(*row) for row in ragged(2, [5, 5, 5]))
    close(pair_loss(a.flip(0), b.flip(0), m.flip(0), PLAIN)[0].flip(0), pair_loss(a, b, m, PLAIN)[0], 1e-12)


def test_a_step_down_the_gradient_raises_the_chosen_score() -> None:
    scores = vector(0.1, 0.4)
    moved = scores - 0.1 * gradient(lambda s: pair_loss(s[:1], s[1:], vector(0.0), PLAIN)[0].sum(), scores)
    assert moved[0] > scores[0] and moved[1] < scores[1]


def test_label_loss_worked_example() -> None:
    # score log 3 says "good" with probability 3/4
    losses, metrics = label_loss(vector(math.log(3.0), math.log(3.0), 0.0), vector(1.0, 0.0, 1.0))
    close(losses, [-math.log(0.75), -math.log(0.25), math.log(2.0)])
    close(metrics["accuracy"], [1.0, 0.0, 0.5])
    close(metrics["loss"], losses)


def test_label_loss_and_gradient_match_loops() -> None:
    scores, labels = ragged(3, [6])[0], [0.0, 1.0, 0.5, 0.25, 1.0, 0.0]

    def scalar(rows: list[list[float]]) -> float:
        pairs = zip(rows[0], labels, strict=True)
        return sum(-y * math.log(sigmoid(s)) - (1 - y) * math.log(1 - sigmoid(s)) for s, y in pairs)

    def ours(x: Tensor) -> Tensor:
        return label_loss(x, vector(*labels))[0].sum()

    close(ours(vector(*scores)), scalar([scores]))
    close(gradient(ours, vector(*scores)), differentiate(scalar, [scores])[0])
    close(gradient(ours, vector(*scores)), [sigmoid(s) - y for s, y in zip(scores, labels, strict=True)])


def test_an_offset_says_how_common_good_texts_are() -> None:
    # three of four are good: a score of 0 gives the probability 3/4
    losses, metrics = label_loss(vector(0.0, 0.0), vector(1.0, 0.0), offset=math.log(3.0))
    close(losses, [-math.log(0.75), -math.log(0.25)])
    close(metrics["accuracy"], [0.5, 0.5])
    close(label_loss(vector(0.7), vector(1.0), 0.3)[0], label_loss(vector(1.0), vector(1.0))[0])


def test_label_accuracy_of_an_undecided_label_is_half() -> None:
    close(label_loss(vector(3.0, -3.0, -3.0), vector(0.5, 0.5, 0.4))[1]["accuracy"], [0.5, 0.5, 1.0])


def test_pair_weights_sum_to_one() -> None:
    close(pair_weights(vector(1.0, 0.5, 0.5)), [0.5, 0.25, 0.25])


def test_every_prompt_counts_the_same_however_many_pairs_it_has() -> None:
    # prompt 7: one pair; prompt 3: three pairs of K = 3 responses, the last from a rater counted twice
    weights = pair_weights(vector(1.0, 1.0, 1.0, 2.0), torch.tensor([7, 3, 3, 3]))
    close(weights, [0.5, 0.125, 0.125, 0.25])


def test_k_wise_of_two_prompts_of_different_k() -> None:
    # K = 3 with scores 2 > 1 > 0: pairs of differences 1, 1, 2; K = 2 with a difference of -1. Prompts weigh 1/2 each.
    chosen, rejected = vector(2.0, 1.0, 2.0, 0.0), vector(1.0, 0.0, 0.0, 1.0)
    weights = pair_weights(vector(1.0, 1.0, 1.0, 1.0), torch.tensor([0, 0, 0, 1]))
    losses, _ = pair_loss(chosen, rejected, vector(0.0, 0.0, 0.0, 0.0), PLAIN)
    first = -(2 * math.log(sigmoid(1.0)) + math.log(sigmoid(2.0))) / 3
    close((losses * weights).sum(), (first - math.log(sigmoid(-1.0))) / 2)


@pytest.mark.parametrize("which", ["chosen", "rejected"])
def test_metrics_carry_no_gradient(which: str) -> None:
    scores = {"chosen": vector(1.0), "rejected": vector(0.0)}
    scores[which].requires_grad_()
    assert not any(m.requires_grad for m in pair_loss(**scores, margins=vector(0.0), settings=PLAIN)[1].values())
    assert not any(m.requires_grad for m in label_loss(vector(1.0).requires_grad_(), vector(1.0))[1].values())


def test_defaults() -> None:
    assert (PLAIN.form, PLAIN.label_smoothing, PLAIN.centring) == ("k_wise", 0.0, 0.0)


@pytest.mark.parametrize("values", [{"label_smoothing": 0.5}, {"label_smoothing": -0.1}, {"centring": -0.1},
                                    {"form": "pick_best", "label_smoothing": 0.1}])  # fmt: skip
def test_settings_refuse_what_makes_no_sense(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate(values)


def test_nearly_random_labels_are_allowed() -> None:
    assert Settings(label_smoothing=0.49).label_smoothing == 0.49
