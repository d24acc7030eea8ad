"""RAFT: the best of each prompt."""

import random

import pytest
from pydantic import ValidationError

from tuningfork.methods.selection import load, raft
from tuningfork.methods.selection.raft import Settings


def uniforms(count: int, seed: int = 0) -> list:  # type: ignore[type-arg]
    return [random.Random(seed + number).random for number in range(count)]


def test_worked_example() -> None:
    groups = [[1.0, 3.0, 2.0], [9.0, 8.0, 8.5]]
    assert raft.select(groups, uniforms(2), Settings()) == [[1], [0]]
    assert raft.select(groups, uniforms(2), Settings(keep=2)) == [[1, 2], [0, 2]]
    assert load("raft") is raft


def test_against_sorting() -> None:
    numbers = random.Random(3)
    groups = [[numbers.gauss(0, 1) for _ in range(size)] for size in (2, 5, 9)]
    for keep in (1, 3, 20):
        for scores, kept in zip(groups, raft.select(groups, uniforms(3), Settings(keep=keep)), strict=True):
            threshold = sorted(scores, reverse=True)[:keep][-1]
            assert kept == [place for place, score in enumerate(scores) if score >= threshold]


def test_easy_prompts_do_not_dominate() -> None:
    hard, easy = [0.0, 0.1], [100.0, 101.0]
    assert raft.select([hard, easy], uniforms(2), Settings()) == [[1], [1]]
    shifted = [[score + 50 for score in hard], easy]
    assert raft.select(shifted, uniforms(2), Settings()) == [[1], [1]]


def test_prompts_of_one_score_are_dropped() -> None:
    assert raft.select([[2.0, 2.0], [1.0], [], [1.0, 1.5]], uniforms(4), Settings()) == [[], [], [], [1]]


def test_order_does_not_matter_and_ties_are_broken_at_random() -> None:
    scores = [0.5, 2.0, -1.0, 1.0]
    order = [3, 1, 0, 2]
    moved = raft.select([[scores[i] for i in order]], uniforms(1), Settings(keep=2))[0]
    assert sorted(order[place] for place in moved) == raft.select([scores], uniforms(1), Settings(keep=2))[0]
    chosen = [raft.select([[1.0, 1.0, 0.0]], uniforms(1, seed), Settings())[0][0] for seed in range(200)]
    assert 70 < chosen.count(0) < 130 and chosen.count(2) == 0
    assert raft.select([[1.0, 1.0, 0.0]], uniforms(1, 7), Settings()) == raft.select(
        [[1.0, 1.0, 0.0]], uniforms(1, 7), Settings()
    )


def test_settings_and_arguments_that_make_no_sense_are_refused() -> None:
    assert Settings().keep == 1
    with pytest.raises(ValidationError):
        Settings(keep=0)
    with pytest.raises(ValueError, match="shorter"):
        raft.select([[1.0, 2.0], [1.0, 3.0]], uniforms(1), Settings())
