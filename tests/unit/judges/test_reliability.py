"""Planted judges: what the order and the length do to them is measured, and the order's part is removed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from tuningfork.data.judgements import Candidate
from tuningfork.judges.base import Judge, Opinion, Pair, RaterKind, compare
from tuningfork.judges.orders import ask
from tuningfork.judges.reliability import Label, length_bias, order_bias, reliability


class Planted:
    """Prefers by a function of (text of a, text of b); a pair whose id begins with `?` leaves it speechless."""

    name = "planted"
    kind: RaterKind = "rule"

    def __init__(self, probability: Callable[[str, str], float]) -> None:
        self.probability = probability

    def compare(self, pairs: Sequence[Pair]) -> list[Opinion | None]:
        return [
            Opinion(None if pair.id.startswith("?") else self.probability(pair.a.text, pair.b.text)) for pair in pairs
        ]


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def quality(text: str) -> float:
    return float(text.split()[0])


def make_pairs(count: int, seed: int = 0) -> tuple[list[Pair], dict[str, Label]]:
    """Answers that begin with their quality and have some words; the first of a pair is always the better one."""
    draws = np.random.default_rng(seed)
    pairs = []
    for number in range(count):
        low, high = sorted(draws.normal(size=2))
        texts = [f"{value:.4f}" + " word" * int(draws.integers(1, 20)) for value in (high, low)]
        pairs.append(Pair(str(number), str(number), "q", Candidate(text=texts[0]), Candidate(text=texts[1])))
    return pairs, {pair.id: "a" for pair in pairs}


def biased(bias: float) -> Judge:
    """Sees the quality, and adds something to whatever is shown first."""
    return Planted(lambda a, b: sigmoid(2 * (quality(a) - quality(b)) + bias))


def test_the_order_bias_of_a_planted_judge_is_measured_and_removed() -> None:
    pairs, labels = make_pairs(400)
    asked = ask(biased(1.5), pairs)
    found = order_bias(asked, seed=0)
    assert found is not None and found.first_ci95 is not None
    # for differences d of quality the first shown has on average (s(2d + 1.5) + s(-2d + 1.5)) / 2
    differences = [quality(pair.a.text) - quality(pair.b.text) for pair in pairs]
    expected = np.mean([(sigmoid(2 * d + 1.5) + sigmoid(-2 * d + 1.5)) / 2 for d in differences])
    assert found.first_share == pytest.approx(expected) and found.first_ci95[0] > 0.6
    assert found.inconsistent == pytest.approx(np.mean([2 * d < 1.5 for d in differences]))
    both = reliability(asked, labels, 0)
    one = reliability(ask(biased(1.5), [pair.swapped() for pair in pairs], "one"), dict.fromkeys(labels, "b"), 0)
    assert both is not None and one is not None
    assert both.agreement == 1.0 and both.pairs == 400, "averaged over both orders it sees the quality again"
    assert one.ci95[1] < 0.9, "in one order it does not"


def test_exchanging_the_responses_gives_the_other_probability_exactly() -> None:
    pairs, _ = make_pairs(30)
    forward, backward = ask(biased(0.7), pairs), ask(biased(0.7), [pair.swapped() for pair in pairs])
    for one, other in zip(forward, backward, strict=True):
        assert one.probability is not None and other.probability == pytest.approx(1 - one.probability, abs=1e-15)
        assert one.first_shown == pytest.approx(other.first_shown)


def test_a_fair_judge_has_no_bias_and_one_that_only_looks_at_the_order_makes_ties() -> None:
    pairs, labels = make_pairs(100)
    fair = order_bias(ask(biased(0.0), pairs), 0)
    assert fair is not None and fair.first_share == pytest.approx(0.5) and fair.inconsistent == 0.0
    blind = ask(Planted(lambda a, b: 1.0), pairs)
    assert {one.choice() for one in blind} == {"tie"} and reliability(blind, labels, 0) is None
    bias = order_bias(blind, 0)
    assert bias is not None and bias.first_share == 1.0 and bias.inconsistent == 1.0


def test_a_judge_that_likes_length_is_found_out_beside_the_labels() -> None:
    pairs, labels = make_pairs(300)
    long = ask(Planted(lambda a, b: sigmoid(quality(a) - quality(b) + 0.3 * (len(a.split()) - len(b.split())))), pairs)
    found = length_bias(long, labels)
    assert found is not None and found.longer_ci95[0] > 0.75
    assert found.longer_share_of_labels == pytest.approx(0.5, abs=0.1) and found.errors_longer == 1.0
    fair = length_bias(ask(biased(0.0), pairs), labels)
    assert fair is not None and fair.longer_share == fair.longer_share_of_labels and fair.errors_longer is None


def test_agreement_and_kappa_of_a_judge_that_errs() -> None:
    pairs, labels = make_pairs(200)
    # wrong wherever the better answer has an even number of words
    judge = Planted(lambda a, b: float((quality(a) > quality(b)) != (len(max(a, b, key=quality).split()) % 2 == 0)))
    found = reliability(ask(judge, pairs), labels, 0)
    assert found is not None
    right = np.mean([len(pair.a.text.split()) % 2 == 1 for pair in pairs])
    assert found.agreement == pytest.approx(right) and found.ci95[0] < right < found.ci95[1]
    # the sides are drawn, so chance is about one half and kappa about 2 agreement - 1, though the label is always `a`
    assert found.kappa == pytest.approx(2 * right - 1, abs=0.06)
    assert found.kappa_ci95 is not None and found.kappa_ci95[0] < found.kappa < found.kappa_ci95[1]


def test_what_a_judge_says_nothing_about_is_counted_and_not_taken_for_a_tie() -> None:
    pairs, labels = make_pairs(20)
    silent = Pair("?1", "r", "q", Candidate(text="1 x"), Candidate(text="0 y"))
    asked = ask(biased(0.0), [*pairs, silent])
    assert asked[-1].probability is None and asked[-1].choice() is None and asked[-1].is_consistent is None
    found = reliability(asked, {**labels, "?1": "a"}, 0)
    assert found is not None and (found.no_opinion, found.ties, found.pairs) == (1, 0, 20)


def test_one_order_is_drawn_by_id_and_both_occur() -> None:
    pairs, _ = make_pairs(60)
    asked = ask(biased(0.0), pairs, "one", seed=3)
    assert 15 < sum(one.is_asked_forward for one in asked) < 45
    assert all(one.is_asked_forward != one.is_asked_backward for one in asked)
    again = ask(biased(0.0), pairs[::-1], "one", seed=3)
    assert [one.is_asked_forward for one in again] == [one.is_asked_forward for one in asked][::-1]
    assert all(one.choice() == "a" for one in asked), "a is the better one, whatever is shown first"


def test_a_margin_makes_ties() -> None:
    pairs, _ = make_pairs(1)
    near = ask(Planted(lambda a, b: 0.55 if quality(a) > quality(b) else 0.45), pairs)[0]
    assert near.choice() == "a" and near.choice(0.05) == "tie"


def test_two_texts_can_be_compared_alone() -> None:
    assert compare(biased(0.0), "q", "1 x", "0 y") == pytest.approx(sigmoid(2))
