"""Weights of propositions about an answer, fitted to rankings: total = base + sum of w_i phi_i (Mu et al. 2024, 2411.01111).

phi_i in [0, 1] is how probable proposition i is of an answer (it apologises, it judges the user, it gives what was asked ...).
The weights minimise the mean hinge loss max(0, margin - (total of the better - total of the worse)) plus a penalty on their
squares: convex, so what is found is the minimum whatever it starts from.

A file of propositions:

    question: |                 # optional; $prompt, $response and $proposition are filled
      ...
    labels: ["yes", "no"]       # optional; what says that it holds, and that it does not
    propositions:
      apologises: {says: The answer apologises.}
      judges:     {says: The answer judges the user., weight: -1}    # a weight given by hand; else it is fitted
"""

from __future__ import annotations

import json
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from pydantic import Field, model_validator

from tuningfork.data.yaml_files import load_yaml
from tuningfork.errors import DataError
from tuningfork.settings import Settings

_MOST_ROUNDS, _STILL = 2000, 1e-7


_QUESTION = """Read a message and the answer to it, and say whether a statement about the answer is true.

[Message]
$prompt

[Answer]
$response

[Statement]
$proposition

Reply with yes or no.
True:"""


class Proposition(Settings):
    """One statement about an answer."""

    says: str = Field(min_length=1)
    """what is true of the answer where it holds"""
    weight: float = 0.0
    """its weight where no fitted ones are given"""


class Propositions(Settings):
    """The statements, and how a model is asked about each."""

    propositions: dict[str, Proposition] = Field(min_length=1)
    """name -> statement"""
    labels: tuple[str, str] = ("yes", "no")
    """what the model replies where it holds, and where it does not"""
    question: str = _QUESTION
    """what the model is asked"""

    @model_validator(mode="after")
    def _can_be_asked(self) -> Self:
        template = string.Template(self.question)
        if not template.is_valid() or set(template.get_identifiers()) != {"prompt", "response", "proposition"}:
            raise ValueError("question: needs $prompt, $response and $proposition, and nothing else")
        if self.labels[0] == self.labels[1]:
            raise ValueError("labels: give two different ones")
        return self

    def ask(self, name: str, prompt: str, response: str) -> str:
        """The question about one statement; nothing in it is read as a place again."""
        values = {"prompt": prompt, "response": response, "proposition": self.propositions[name].says}
        return string.Template(self.question).substitute(values).rstrip("\n")

    @property
    def given_weights(self) -> dict[str, float]:
        """The weights of the file."""
        return {name: one.weight for name, one in self.propositions.items()}


def load_propositions(path: Path) -> Propositions:
    """The propositions of a YAML file; DataError with file and place for what is none."""
    return load_yaml(Propositions, path, "propositions")


def save_weights(path: Path, weights: Mapping[str, float]) -> None:
    """Write fitted weights by name as JSON."""
    path.write_text(json.dumps({"version": 1, "weights": dict(weights)}, indent=1) + "\n", encoding="utf-8")


def load_weights(path: Path, names: Sequence[str]) -> dict[str, float]:
    """Fitted weights of just these propositions; DataError where the file is about others."""
    try:
        found = {str(name): float(value) for name, value in json.loads(path.read_text("utf-8"))["weights"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: not the weights that a stage `propositions` writes ({error})") from error
    if set(found) != set(names):
        raise DataError(
            f"{path}: weights of {', '.join(sorted(found))}, but the propositions are {', '.join(sorted(names))}"
        )
    return found


@dataclass(frozen=True)
class Fit:
    """Weights (K,), the mean hinge loss with them, and the share of pairs in the right order before and after."""

    weights: np.ndarray
    loss: float
    accuracy_before: float
    accuracy: float


def ordered_pairs(groups: Sequence[object], ranks: Sequence[float]) -> list[tuple[int, int]]:
    """(better, worse) indices of answers to one prompt (equal `groups`) with different ranks; 1 is the best."""
    members: dict[object, list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault(group, []).append(index)
    return [(a, b) for own in members.values() for a in own for b in own if ranks[a] < ranks[b]]


def fit_weights(
    features: np.ndarray,
    base: np.ndarray,
    pairs: Sequence[tuple[int, int]],
    *,
    margin: float = 1.0,
    penalty: float = 0.01,
) -> Fit:
    """Fit the weights (K,) of features (N, K) beside base scores (N,) to `pairs` of (better, worse) rows; at least one.

    Dual coordinate ascent (Hsieh et al. 2008): each pair has a multiplier in [0, 1 / P], w = sum of multiplier x difference
    over 2 x penalty; one is moved to its optimum at a time until none moves.
    """
    better, worse = np.array(pairs).T
    difference = features[better] - features[worse]  # (P, K)
    given = base[better] - base[worse]  # (P,)
    largest = 1 / len(pairs)
    curvature = (difference**2).sum(1) / (2 * penalty)
    multipliers, weights = np.zeros(len(pairs)), np.zeros(features.shape[1])
    for _ in range(_MOST_ROUNDS):
        moved = 0.0
        for index in np.flatnonzero(curvature):
            slope = margin - given[index] - weights @ difference[index]
            new = min(largest, max(0.0, multipliers[index] + slope / curvature[index]))
            weights = weights + (new - multipliers[index]) * difference[index] / (2 * penalty)
            moved = max(moved, abs(new - multipliers[index]))
            multipliers[index] = new
        if moved < _STILL * largest:
            break
    totals = given + difference @ weights
    loss = float(np.maximum(0.0, margin - totals).mean())
    return Fit(weights, loss, float((given > 0).mean()), float((totals > 0).mean()))
