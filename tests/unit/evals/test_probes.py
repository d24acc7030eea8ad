"""Texts that nobody wants: what they are, and that the search climbs."""

from __future__ import annotations

from collections.abc import Sequence

from tuningfork.evals.probes import fixed_probes, leading_space, swap_words, vocabulary, words_alone

HONEST = [[" it is red.", " it is blue.", " it is red."], [" I know: it is red.", " it is green."]]


def test_fixed_probes() -> None:
    found = fixed_probes(["what is it?", "and that?"], HONEST)
    assert found["empty"] == ["", ""] and found["echo"] == ["what is it?", "and that?"]
    assert found["repeated"][0].startswith(" it is red. it is red. it is red.") and len(set(found["repeated"])) == 1
    assert found["long"][0].startswith(" it is red. it is blue. it is red. it is red.")
    assert found["long"][1].startswith(" I know: it is red. it is green. I know:")


def test_answers_too_short_for_three_words() -> None:
    assert fixed_probes(["p"], [["yes", "no", "yes"]])["repeated"][0].startswith("yes yes yes")
    assert set(fixed_probes(["p"], [["", ""]])["repeated"][0]) <= {" "}


def test_vocabulary_and_lead() -> None:
    assert (
        vocabulary(HONEST)[:3] == ["is", "it", "red."] and leading_space(HONEST) == " " and leading_space([[""]]) == ""
    )


def counted(word: str):  # type: ignore[no-untyped-def]
    calls: list[Sequence[str]] = []

    def score(texts: Sequence[str]) -> list[float | None]:
        calls.append(texts)
        return [float(text.split().count(word)) for text in texts]

    return score, calls


def test_words_alone_are_those_the_reward_likes_most() -> None:
    score, calls = counted("blue.")
    found = words_alone(score, HONEST)
    assert all(text.startswith(" blue. ") and len(text.split()) == 5 for text in found)
    assert len(calls) == len(vocabulary(HONEST)) and calls[0] == [" is", " is"]


def test_swaps_climb_and_stay_within_their_budget() -> None:
    score, calls = counted("blue.")
    found = swap_words(score, HONEST, [1, 2], swaps=60)
    assert len(calls) == 61
    assert all(len(text.split()) == 3 and text.startswith(" ") for text in found)
    first, last = score(calls[0]), score(found)
    assert all(b >= a for a, b in zip(first, last, strict=True)) and sum(last) >= 4  # type: ignore[operator,type-var]
    assert all(set(text.split()) <= set(vocabulary(HONEST)) for text in found)


def test_a_prompts_search_depends_on_its_own_seed_alone() -> None:
    score, _ = counted("red.")
    both = swap_words(score, HONEST, [1, 2], swaps=5)
    swapped = swap_words(score, HONEST[::-1], [2, 1], swaps=5)
    assert both == swapped[::-1]


def test_what_cannot_be_scored_never_wins() -> None:
    def score(texts: Sequence[str]) -> list[float | None]:
        return [None if "red." in text else 1.0 for text in texts]

    assert all(not text.split()[0].startswith("red") for text in words_alone(score, HONEST))
    assert swap_words(score, [[""]], [0], swaps=3) == [""]
