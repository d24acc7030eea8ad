"""Labelling projects with annotators of known kinds, as the judgements they would leave."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from tuningfork.feedback import schema
from tuningfork.feedback.answers import TIE, Given
from tuningfork.randomness import numpy_generator

Habit = Callable[[np.random.Generator, int, int, int], tuple[int | str, float]]
"""(draws, number of the better answer, its place on the screen, how many answers before) -> place or tie, seconds"""


def careful(draws: np.random.Generator, better: int, place: int, before: int) -> tuple[int | str, float]:
    """Errs in 12 of 100, says tie in 8 of 100, takes eight seconds."""
    seconds = float(np.exp(draws.normal(np.log(8), 0.4)))
    if draws.random() < 0.08:
        return TIE, seconds
    return (place if draws.random() > 0.12 else 1 - place), seconds


def random(draws: np.random.Generator, better: int, place: int, before: int) -> tuple[int | str, float]:
    """Presses any key after a fitting time."""
    return int(draws.integers(2)), float(np.exp(draws.normal(np.log(8), 0.4)))


def lefty(draws: np.random.Generator, better: int, place: int, before: int) -> tuple[int | str, float]:
    """Always the left one."""
    return 0, float(np.exp(draws.normal(np.log(6), 0.4)))


def leaning(draws: np.random.Generator, better: int, place: int, before: int) -> tuple[int | str, float]:
    """Careful, but in four of ten answers takes the left one without reading."""
    choice, seconds = careful(draws, better, place, before)
    return (0, seconds) if draws.random() < 0.4 else (choice, seconds)


def lazy(draws: np.random.Generator, better: int, place: int, before: int) -> tuple[int | str, float]:
    """A tie wherever it is not obvious, which is half of the time."""
    choice, seconds = careful(draws, better, place, before)
    return (TIE, seconds) if draws.random() < 0.5 else (choice, seconds)


def hasty(draws: np.random.Generator, better: int, place: int, before: int) -> tuple[int | str, float]:
    """A second an answer, and so wrong in three of ten."""
    return (place if draws.random() > 0.3 else 1 - place), float(np.exp(draws.normal(np.log(1), 0.3)))


def alternating(draws: np.random.Generator, better: int, place: int, before: int) -> tuple[int | str, float]:
    """Left, right, left, right."""
    return before % 2, float(np.exp(draws.normal(np.log(5), 0.4)))


def reversed_(draws: np.random.Generator, better: int, place: int, before: int) -> tuple[int | str, float]:
    """Careful, but has taken the question the wrong way round."""
    choice, seconds = careful(draws, better, place, before)
    return (choice if isinstance(choice, str) else 1 - choice), seconds


def project(
    habits: Mapping[str, Habit],
    seed: int,
    *,
    each: int = 120,
    overlap: float = 0.3,
    gold: float = 0.1,
    repeats: float = 0.08,
) -> list[Given]:
    """Judgements of a project in which each annotator gives `each` answers; shared items are asked of two of them."""
    draws = numpy_generator(seed, "planted")
    names = list(habits)
    counts = dict.fromkeys(names, 0)
    answers: list[Given] = []
    asked: dict[str, list[str]] = {name: [] for name in names}

    def ask(name: str, item: str, purpose: str) -> None:
        better = int(numpy_generator(seed, "better", item).integers(2))
        shown = (0, 1) if draws.random() < 0.5 else (1, 0)
        place, seconds = habits[name](draws, better, shown.index(better), counts[name])
        counts[name] += 1
        ranking = ((0, 1),) if isinstance(place, str) else ((shown[place],), (shown[1 - place],))
        known = ((better,), (1 - better,)) if purpose == schema.GOLD else None
        answers.append(
            Given(
                item, name, purpose, float(len(answers)), shown, ranking, 0.0 if place == TIE else 1.0, seconds, known
            )
        )

    for number in range(each * len(names)):
        free = [name for name in names if counts[name] < each]
        if not free:
            break
        name = free[int(draws.integers(len(free)))]
        draw = float(draws.random())
        if draw < gold:
            ask(name, f"gold {number}", schema.GOLD)
        elif draw < gold + repeats and len(asked[name]) > 10:
            ask(name, asked[name].pop(0), schema.REPEAT)
        else:
            ask(name, f"item {number}", schema.ORDINARY)
            asked[name].append(f"item {number}")
            others = [other for other in free if other != name]
            if others and draws.random() < overlap:
                ask(others[int(draws.integers(len(others)))], f"item {number}", schema.ORDINARY)
    return answers
