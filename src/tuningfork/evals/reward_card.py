"""A reward model's card as plain data: everything that held-out feedback says about it, and whether to optimise on it.

No torch: scores come in, numbers and sentences go out. `card_text` renders it; the report draws it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from tuningfork.evals.accuracy import accuracy, by_name, by_quarter, differences_of, gain, hits
from tuningfork.evals.calibration import calibration, cross_fitted, fit_temperature
from tuningfork.evals.card_settings import CardSettings
from tuningfork.evals.ceiling import rater_agreement
from tuningfork.evals.correlation import correlation_within, spearman, spearman_interval, within_groups
from tuningfork.evals.feedback import Compared
from tuningfork.evals.numbers import figure
from tuningfork.evals.sensitivity import Sensitivity
from tuningfork.randomness import numpy_generator

VERSION = 1
_MOST_POINTS = 300


@dataclass
class Measured:
    """What was measured of one reward model on held-out feedback. Columns are over the answers."""

    answers: Sequence[str]
    prompts: Sequence[str]
    roots: Sequence[str]
    scores: Sequence[float]
    comparisons: Sequence[Compared]
    ratings: Sequence[float] = ()
    """empty where answers were only compared"""
    unit: float = 1.0
    """score that makes one unit of log odds"""
    is_log_odds: bool = True
    """whether a difference of scores was trained to be log odds; of a regression it is not"""
    rule: str = "longer"
    """which answers the rule of length prefers, as learnt from the feedback trained on: `longer` or `shorter`"""
    baselines: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """name -> a score for each answer"""
    rewrites: Sequence[Sensitivity] = ()
    probes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    disagreement: Sequence[float] = ()
    """an ensemble's deviation over its members"""
    other: Mapping[str, Any] | None = None
    """another reward model on the same answers: name, scores, extra megabytes"""
    trunk: Mapping[str, Any] = field(default_factory=dict)


def build_card(measured: Measured, settings: CardSettings, minimum_accuracy: float, seed: int) -> dict[str, Any]:
    """The card; `verdict` holds `usable`, `reason` and the sentences."""
    roots = [c.root for c in measured.comparisons]
    right = hits(measured.scores, measured.comparisons)
    overall = accuracy("overall", right, roots, seed=seed)
    card: dict[str, Any] = {
        "version": VERSION,
        "answers": len(measured.answers),
        "comparisons": len(measured.comparisons),
        "roots": len(set(roots)),
        "accuracy": asdict(overall) | _slices(measured, right, roots, seed),
        "baselines": _baselines(measured, right, roots, seed),
        "calibration": _calibration(measured, roots, seed),
        "relation": _relation(measured, seed),
        "length": _length(measured),
        "sensitivity": [asdict(one) for one in measured.rewrites],
        "probes": {name: dict(found) for name, found in measured.probes.items()},
        "ceiling": _as_dict(rater_agreement(measured.comparisons)),
        "disagreement": _disagreement(measured, right, roots, seed),
        "compared": _compared(measured, right, roots, seed),
        "trunk": dict(measured.trunk),
    }
    card["verdict"] = _verdict(card, settings, minimum_accuracy)
    return card


def _slices(measured: Measured, right: np.ndarray, roots: Sequence[str], seed: int) -> dict[str, Any]:
    strengths = np.array([c.strength for c in measured.comparisons])
    lengths = np.array([len(answer) for answer in measured.answers], dtype=np.float64)
    longer = differences_of(lengths, measured.comparisons)  # type: ignore[arg-type]
    sources = [c.source or "not said" for c in measured.comparisons]
    return {
        "by_strength": [
            asdict(one)
            for one in by_quarter(right, strengths, roots, seed=seed, name=lambda a, b: f"{figure(a)} to {figure(b)}")
        ],
        "by_length": [
            asdict(one)
            for one in by_quarter(right, longer, roots, seed=seed, name=lambda a, b: f"{a:+.0f} to {b:+.0f} characters")
        ],
        "by_source": [asdict(one) for one in by_name(right, sources, roots, seed=seed)],
    }


def _baselines(measured: Measured, right: np.ndarray, roots: Sequence[str], seed: int) -> list[dict[str, Any]]:
    """Each with its accuracy and how much more often the reward model is right."""
    sign = -1 if measured.rule == "shorter" else 1
    columns: dict[str, Sequence[float]] = {
        f"{measured.rule} wins": [sign * len(answer) for answer in measured.answers],
        **measured.baselines,
    }
    rows = [{"name": "random", "share": 0.5, "gain": gain(np.full_like(right, 0.5), right, roots, seed=seed)}]
    for name, scores in columns.items():
        theirs = hits(scores, measured.comparisons)
        found = accuracy(name, theirs, roots, seed=seed)
        rows.append(
            {
                "name": name,
                "share": found.share,
                "ci95": list(found.ci95),
                "gain": gain(theirs, right, roots, seed=seed),
            }
        )
    return rows


def _calibration(measured: Measured, roots: Sequence[str], seed: int) -> dict[str, Any]:
    differences = differences_of(measured.scores, measured.comparisons) / measured.unit
    fitted = cross_fitted(differences, roots, seed=seed)
    return {
        "is_log_odds": measured.is_log_odds,
        "raw": asdict(calibration(differences)) if measured.is_log_odds else None,
        "temperature": fit_temperature(differences),
        "unit": measured.unit,
        "fitted": asdict(calibration(fitted)) if fitted is not None else None,
    }


def _relation(measured: Measured, seed: int) -> dict[str, Any]:
    """How the score goes with how people rated: with ratings, or with the share of comparisons an answer won."""
    if len(measured.ratings):
        kept, rated, scores = (
            list(range(len(measured.answers))),
            np.asarray(measured.ratings),
            np.asarray(measured.scores),
        )
        kind = "rating"
    else:
        won, played = np.zeros(len(measured.answers)), np.zeros(len(measured.answers))
        for one in measured.comparisons:
            won[one.better] += 1
            played[[one.better, one.worse]] += 1
        kept = np.flatnonzero(played).tolist()
        rated = won[kept] / played[kept]
        groups = [(measured.roots[row], measured.prompts[row]) for row in kept]
        scores, kind = within_groups(np.asarray(measured.scores)[kept], groups), "share of comparisons won"
    roots = [measured.roots[row] for row in kept]
    chosen = numpy_generator(seed, "points").permutation(len(kept))[:_MOST_POINTS]
    return {
        "kind": kind,
        "spearman": spearman(scores, rated),
        "ci95": _as_list(spearman_interval(scores, rated, roots, seed=seed)),
        "n": len(kept),
        "points": [[float(rated[row]), float(scores[row])] for row in sorted(chosen.tolist())],
    }


def _length(measured: Measured) -> dict[str, Any]:
    lengths = [len(answer) for answer in measured.answers]
    groups = [(root, prompt) for root, prompt in zip(measured.roots, measured.prompts, strict=True)]
    return {
        "within": correlation_within(measured.scores, lengths, groups),
        "over_all": spearman(measured.scores, lengths),
        "characters": float(np.mean(lengths)),
    }


def _disagreement(measured: Measured, right: np.ndarray, roots: Sequence[str], seed: int) -> dict[str, Any] | None:
    """Is an ensemble right more often where its members agree?"""
    if not len(measured.disagreement):
        return None
    values = np.asarray(measured.disagreement)
    pairs = np.array([(values[c.better] + values[c.worse]) / 2 for c in measured.comparisons])
    return {
        "mean": float(values.mean()),
        "by_disagreement": [
            asdict(one)
            for one in by_quarter(right, pairs, roots, seed=seed, name=lambda a, b: f"{figure(a)} to {figure(b)}")
        ],
    }


def _compared(measured: Measured, right: np.ndarray, roots: Sequence[str], seed: int) -> dict[str, Any] | None:
    """Another reward model on the same comparisons; `cost` is what this one gives away in accuracy."""
    if measured.other is None:
        return None
    theirs = hits(measured.other["scores"], measured.comparisons)
    rest = {key: value for key, value in measured.other.items() if key != "scores"}
    return rest | {"share": float(theirs.mean()), "gain": gain(theirs, right, roots, seed=seed)}


def _verdict(card: dict[str, Any], settings: CardSettings, minimum: float) -> dict[str, Any]:
    from tuningfork.evals.card_verdict import sentences

    share = card["accuracy"]["share"]
    rule = next(row for row in card["baselines"] if row["name"].endswith(" wins"))
    difference, interval = rule["gain"]["difference"], rule["gain"]["ci95"]
    if settings.certainty == "estimate":
        beats = difference > 0
    else:
        beats = interval is not None and interval[0] > 0
    if not beats:
        reason = (
            f"it does not beat '{rule['name']}'"
            if difference <= 0
            else f"nobody can tell whether it beats '{rule['name']}'"
        )
    else:
        reason = f"its accuracy {share:.3f} is below {minimum}" if share < minimum else ""
    usable = beats and share >= minimum
    return {"usable": usable, "beats_length": beats, "reason": reason, "sentences": sentences(card, usable, reason)}


def _as_dict(found: Any) -> dict[str, Any] | None:
    return None if found is None else asdict(found)


def _as_list(found: Sequence[float] | None) -> list[float] | None:
    return None if found is None else list(found)
