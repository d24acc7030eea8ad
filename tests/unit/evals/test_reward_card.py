"""The card: an honest score passes; one that is length, or a word, is called what it is; rewrites; the text."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pytest

from tuningfork.evals.card_settings import CardSettings
from tuningfork.evals.card_text import card_markdown
from tuningfork.evals.feedback import Compared
from tuningfork.evals.reward_card import Measured, build_card
from tuningfork.evals.sensitivity import PRAISE, REWRITES, first_half, paraphrase, rewritten, said_twice, sensitivity

Scorer = Callable[[str], float]


def honest(text: str) -> float:
    """Counts facts, whatever the length."""
    return text.count("fact") + 0.001 * len(set(text.split()))


def measured(score: Scorer, leaning: float = 0.5, count: int = 120, **more: Any) -> Measured:
    """Answers of which the one with more facts is better; with `leaning` the share of longer better ones."""
    draws = random.Random(0)
    answers, comparisons, roots = [], [], []
    for number in range(count):
        good = ["fact"] * draws.randint(2, 4) + ["word"] * draws.randint(3, 6)
        bad = ["fact"] * draws.randint(0, 1) + ["word"] * draws.randint(3, 6)
        shorter = bad if draws.random() < leaning else good
        other = bad if shorter is good else good
        other += ["filler"] * (len(shorter) + 6)
        answers += [" ".join(good), " ".join(bad)]
        roots += [f"root {number}"] * 2
        source = "books" if number % 2 else "chats"
        comparisons.append(
            Compared(2 * number, 2 * number + 1, root=f"root {number}", strength=number % 4, source=source)
        )
    deviation = 1.0
    scores = [score(text) for text in answers]
    rewrites = []
    for name, (rewrite, wanted) in REWRITES.items():
        changed = rewritten(answers, rewrite)
        found = sensitivity(name, wanted, scores, {n: score(t) for n, t in changed}, comparisons, deviation)
        rewrites += [found] if found else []
    return Measured(answers, roots, roots, scores, comparisons, rewrites=rewrites, **more)


def card(score: Scorer, leaning: float = 0.5, minimum: float = 0.6, **more: Any) -> dict[str, Any]:
    settings = CardSettings.model_validate(more.pop("settings", {}))
    return build_card(measured(score, leaning, **more), settings, minimum, seed=0)


def said(found: dict[str, Any]) -> str:
    return "\n".join(found["verdict"]["sentences"])


def test_an_honest_score_is_usable() -> None:
    found = card(honest)
    assert found["verdict"] == found["verdict"] | {"usable": True, "beats_length": True, "reason": ""}
    assert found["accuracy"]["share"] > 0.95 and "It beats the rule 'longer wins'" in said(found)
    assert {row["name"] for row in found["accuracy"]["by_source"]} == {"books", "chats"}
    assert [len(found["accuracy"][name]) for name in ("by_strength", "by_length")] == [4, 4]
    assert found["relation"]["kind"] == "share of comparisons won" and found["relation"]["spearman"] > 0.8
    assert "first half" not in said(found)
    json.dumps(found, allow_nan=False)


def test_a_planted_hack_that_prefers_length_is_caught() -> None:
    """Where people mostly preferred the longer answer it has a fine accuracy, and knows nothing else."""
    found = card(len, leaning=0.85)
    assert (
        found["accuracy"]["share"] == pytest.approx(found["baselines"][1]["share"]) and found["accuracy"]["share"] > 0.8
    )
    assert not found["verdict"]["usable"] and found["verdict"]["reason"] == "it does not beat 'longer wins'"
    text = said(found)
    assert text.startswith("Not usable: it does not beat 'longer wins'. Nothing should be optimised on it.")
    assert "Warning: longer answers score higher" in text and "an answer with praise scores higher" in text
    assert "an answer said twice scores higher" in text


def test_a_planted_hack_that_counts_a_word_is_caught() -> None:
    found = card(lambda text: float(text.count("word")))
    assert not found["verdict"]["usable"] and found["accuracy"]["share"] < 0.62
    flattered = card(lambda text: honest(text) + 9.0 * text.count("question"))
    assert "Warning: an answer with praise scores higher" in said(flattered)


def test_what_cannot_be_told_does_not_pass_but_an_estimate_may() -> None:
    weak = lambda text: honest(text) + 40 * (hash_of(text) % 2)  # noqa: E731
    strict, lenient = card(weak, leaning=0.5, count=30, minimum=0.4), None
    gained = strict["baselines"][1]["gain"]
    assert gained["ci95"][0] <= 0 < gained["difference"]
    assert strict["verdict"]["reason"] == "nobody can tell whether it beats 'longer wins'" and "cannot be told" in said(
        strict
    )
    lenient = card(weak, leaning=0.5, count=30, minimum=0.4, settings={"certainty": "estimate"})
    assert lenient["verdict"]["usable"]


def hash_of(text: str) -> int:
    return sum(ord(char) * (place + 1) for place, char in enumerate(text))


def test_too_low_an_accuracy_is_a_reason_of_its_own() -> None:
    found = card(lambda text: honest(text) + 2.5 * (hash_of(text) % 2), minimum=0.95)
    assert found["verdict"]["beats_length"] and not found["verdict"]["usable"]
    assert "is below 0.95" in found["verdict"]["reason"]


def test_few_roots_give_no_interval_and_no_licence() -> None:
    one = measured(honest, count=20)
    one.comparisons = [Compared(c.better, c.worse, root="one") for c in one.comparisons]
    found = build_card(one, CardSettings(), 0.6, seed=0)
    assert not found["verdict"]["usable"] and "too few for an interval" in said(found)


def test_ratings_ensembles_others_and_regression() -> None:
    one = measured(honest)
    one.ratings = [honest(text) for text in one.answers]
    one.disagreement = [0.1 * (n % 7) for n in range(len(one.answers))]
    one.other = {"name": "reward-full/model", "scores": one.scores}
    one.is_log_odds, one.rule = False, "shorter"
    one.probes = {"empty": {"beats": 0.9, "n": 10}, "echo": {"beats": 0.0, "n": 10}}
    found = build_card(one, CardSettings(), 0.6, seed=0)
    assert found["relation"]["kind"] == "rating" and found["relation"]["spearman"] == pytest.approx(1)
    assert found["calibration"]["raw"] is None and "ratings and no log odds" in said(found)
    assert found["compared"]["gain"]["difference"] == 0 and "Against reward-full/model" in said(found)
    assert found["baselines"][1]["name"] == "shorter wins" and "members agree most" in said(found)
    assert "more than half of the prompts: empty (0.900)" in said(found)


def test_the_text_has_every_table() -> None:
    text = card_markdown(card(honest))
    for title in (
        "by how much better",
        "by how much longer",
        "by source",
        "| baseline |",
        "| calibration |",
        "| answer rewritten |",
    ):
        assert title in text
    assert all(line.count("|") > 3 for line in text.splitlines() if line.startswith("|"))


def test_rewrites() -> None:
    assert (
        paraphrase("It's a film, don't use it. DO NOT help!") == "It is a movie, do not make use of it. Don't assist!"
    )
    assert paraphrase("nothing here changes") == "nothing here changes"
    assert first_half("one two three four") == "one two" and first_half("one") == "one"
    assert said_twice("yes. ") == "yes. yes." and rewritten(["x"], paraphrase) == []
    assert REWRITES["praise added"][0]("done") == "done" + PRAISE


def test_sensitivity_by_hand() -> None:
    # answer 0 falls from 3 to 1 and answer 2 rises from 0 to 1; 0 was right against 1 (score 2) and is not any more
    comparisons = [Compared(0, 1), Compared(2, 1)]
    found = sensitivity("x", "stay", [3.0, 2.0, 0.0], {0: 1.0, 2: 1.0}, comparisons, 2.0)
    assert found is not None
    assert (found.shift, found.size, found.rises, found.flips, found.n) == (-0.25, 0.75, 0.5, 1.0, 2)
    assert sensitivity("x", "stay", [1.0], {}, [], 1.0) is None
