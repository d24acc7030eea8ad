"""How far a judge can be trusted: order, length, and agreement with labels that others gave. No torch here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from tuningfork.evals.agreement_statistics import cohens_kappa
from tuningfork.evals.statistics import paired_comparison, wilson_interval
from tuningfork.judges.orders import Asked
from tuningfork.randomness import derive_seed, uniforms

Label = Literal["a", "b"]
Interval = tuple[float, float] | None


@dataclass(frozen=True)
class OrderBias:
    """What the order in which responses are shown does."""

    first_share: float
    """mean probability of the response shown first; .5 for a judge that ignores the order"""
    first_ci95: Interval
    inconsistent: float
    """share of pairs whose two orders prefer different responses"""
    pairs: int


@dataclass(frozen=True)
class LengthBias:
    """Whether the longer response is preferred, beside how often those who gave the labels prefer it."""

    longer_share: float
    """share of the pairs with a choice and different lengths in which the longer response is preferred"""
    longer_ci95: tuple[float, float]
    pairs: int
    longer_share_of_labels: float | None = None
    """the same share by the labels of these pairs"""
    errors_longer: float | None = None
    """share of the choices against the label that are for the longer response; .5 without a bias"""


@dataclass(frozen=True)
class Reliability:
    """Agreement with labels. A tie of the judge takes no part in `agreement` and `kappa`, and is counted."""

    agreement: float
    """share of the judge's choices that are the label's"""
    ci95: tuple[float, float]
    """Wilson's interval of it"""
    kappa: float
    """Cohen's kappa; which response is called the first is drawn for each pair, so chance is one half"""
    kappa_ci95: Interval
    pairs: int
    ties: int
    no_opinion: int


def order_bias(asked: Sequence[Asked], seed: int) -> OrderBias | None:
    """None where no pair has an opinion in both orders."""
    known = [(one, first) for one in asked if (first := one.first_shown) is not None]
    if not known:
        return None
    roots = [one.pair.root for one, _ in known]
    found = paired_comparison([0.5] * len(known), [first for _, first in known], roots, seed)
    interval = None if found.ci95 is None else (0.5 + found.ci95[0], 0.5 + found.ci95[1])
    inconsistent = sum(not one.is_consistent for one, _ in known) / len(known)
    return OrderBias(found.after, interval, inconsistent, len(known))


def length_bias(
    asked: Sequence[Asked], labels: Mapping[str, Label] | None = None, margin: float = 0.0
) -> LengthBias | None:
    """By words; None where no choice is between responses of different lengths."""
    chosen: list[tuple[Asked, str, str]] = []
    for one in asked:
        longer = len(one.pair.a.text.split()) - len(one.pair.b.text.split())
        choice = one.choice(margin)
        if choice in ("a", "b") and longer:
            chosen.append((one, choice, "a" if longer > 0 else "b"))
    if not chosen:
        return None
    hits = sum(choice == longer for _, choice, longer in chosen)
    labelled = [
        (choice, longer, labels[one.pair.id]) for one, choice, longer in chosen if labels and one.pair.id in labels
    ]
    errors = [choice == longer for choice, longer, label in labelled if choice != label]
    return LengthBias(
        hits / len(chosen),
        wilson_interval(hits, len(chosen)),
        len(chosen),
        sum(longer == label for _, longer, label in labelled) / len(labelled) if labelled else None,
        sum(errors) / len(errors) if errors else None,
    )


def reliability(
    asked: Sequence[Asked], labels: Mapping[str, Label], seed: int, margin: float = 0.0
) -> Reliability | None:
    """Agreement with labels, by pair id; None where the judge chose nothing that has a label."""
    both = [(one.pair.id, one.choice(margin), labels[one.pair.id]) for one in asked if one.pair.id in labels]
    chosen = [(id, choice, label) for id, choice, label in both if choice in ("a", "b")]
    if not chosen:
        return None
    hits = sum(choice == label for _, choice, label in chosen)
    # In files of chosen and rejected responses the label is always the first: chance has to be made one half.
    turned = uniforms([derive_seed(seed, "orientation", id) for id, _, _ in chosen], 0) < 0.5
    sides = [
        [("b" if value == "a" else "a") if turn else value for value, turn in zip(column, turned, strict=True)]
        for column in ([choice for _, choice, _ in chosen], [label for _, _, label in chosen])
    ]
    kappa = cohens_kappa(sides[0], sides[1], seed=seed)
    return Reliability(
        hits / len(chosen),
        wilson_interval(hits, len(chosen)),
        kappa.value,
        kappa.ci95,
        len(chosen),
        sum(choice == "tie" for _, choice, _ in both),
        sum(choice is None for _, choice, _ in both),
    )


def figures(found: OrderBias | LengthBias | Reliability | None, prefix: str = "") -> dict[str, Any]:
    """As figures of a stage, empty ones left out."""
    values = asdict(found) if found is not None else {}
    return {f"{prefix}{name}": value for name, value in values.items() if value is not None}
