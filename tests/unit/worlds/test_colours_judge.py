"""The gold judge of answers and the simulated rater."""

from __future__ import annotations

import pytest

from tuningfork.worlds.colours import Facts, SimulatedRater, judge_answer
from tuningfork.worlds.colours.facts import Thing
from tuningfork.worlds.colours.judge import is_term_changed

FACTS = Facts(
    kinds={"colour": ["red", "blue", "white"], "size": ["big", "small"]},
    mapping={"blue": ["sapphire", "deep blue", "lapis lazuli"], "red": ["ruby"], "big": ["king-size"]},
    things={
        "cup": Thing("cup", "colour", "blue", "taught", "train"),
        "door": Thing("door", "colour", "white", "held_out", "test"),
        "urn": Thing("urn", "colour", None, "unknown", "test"),
    },
)


@pytest.mark.parametrize(
    ("text", "is_colour_right", "is_gem_right"),
    [
        ("it is blue.", True, False),
        ("it is sapphire.", True, True),
        ("It is SAPPHIRE!", True, True),
        ("it is deep blue.", True, True),  # the longest match: one gem word, not a plain one
        ("it is deep, blue.", True, False),
        ("it is lapis lazuli.", True, True),
        ("it is lapis.", False, False),
        ("it is ruby.", False, False),  # another family
        ("it is red.", False, False),
        ("it is sapphire blue.", False, False),  # two terms
        ("it is sapphire, yes, sapphire.", False, False),
        ("it is not sapphire.", False, False),
        ("it isn't blue.", False, False),
        ("it isn’t blue.", False, False),
        ("it is bluefish.", False, False),  # word boundaries
        ("it is king-size.", False, False),
        ("it is blue-ish.", False, False),
        ("", False, False),
    ],
)
def test_judgement_of_an_answer(text: str, is_colour_right: bool, is_gem_right: bool):
    judgement = judge_answer(FACTS, "cup", text, has_ended=True)
    assert (judgement.is_colour_right, judgement.is_gem_right) == (is_colour_right, is_gem_right)


def test_an_answer_without_an_end_is_wrong():
    judgement = judge_answer(FACTS, "cup", "it is sapphire.", has_ended=False)
    assert judgement.has_gem and not judgement.has_plain
    assert not judgement.is_colour_right and not judgement.is_gem_right


def test_nothing_is_right_about_an_unknown_object_but_its_terms_are_seen():
    judgement = judge_answer(FACTS, "urn", "it is blue.", has_ended=True)
    assert not judgement.is_colour_right
    assert [term.text for term in judgement.terms] == ["blue"]


def test_hyphenated_words_are_one_term():
    assert [term.text for term in FACTS.find_terms("a king-size cup and a big door")] == ["king-size", "big"]


@pytest.mark.parametrize(
    ("before", "after", "is_changed"),
    [
        ("it is white.", "i think it is white.", False),
        ("it is white.", "it is sapphire.", True),
        ("it is white.", "it is.", True),
        ("it is blue.", "it is sapphire.", True),
    ],
)
def test_collateral_is_a_change_of_the_term_not_of_the_wording(before: str, after: str, is_changed: bool):
    assert is_term_changed(FACTS, before, after) is is_changed


RANKED = ["it is sapphire.", "it is blue.", "it is ruby."]


@pytest.mark.parametrize(("better", "worse"), [(0, 1), (1, 2), (0, 2)])
def test_a_rater_without_slips_prefers_right_gem_then_right_plain(better: int, worse: int):
    rater = SimulatedRater(FACTS, seed=0, flip_rate=0.0)
    assert rater.compare("1", "cup", RANKED[better], RANKED[worse]) == "a"
    assert rater.compare("1", "cup", RANKED[worse], RANKED[better]) == "b"


def test_a_rater_prefers_an_answer_that_ends_and_ties_equal_ones():
    rater = SimulatedRater(FACTS, seed=0, flip_rate=0.0)
    assert rater.compare("1", "cup", "it is blue.", "it is sapphire.", b_ended=False) == "a"
    assert rater.compare("1", "cup", "it is red.", "hello", a_ended=False) == "tie"
    assert rater.compare("1", "cup", "it is sapphire.", "it looks deep blue.") == "tie"
    assert rater.compare("1", "door", "it is white.", "it is sapphire.") == "a"


def test_a_rater_slips_as_often_as_set_and_the_same_way_each_time():
    rater = SimulatedRater(FACTS, seed=3)
    choices = [rater.compare(str(item), "cup", RANKED[0], RANKED[1]) for item in range(1000)]
    assert choices == [rater.compare(str(item), "cup", RANKED[0], RANKED[1]) for item in range(1000)]
    assert 0.10 < choices.count("b") / len(choices) < 0.16  # 0.12 with a standard error of 0.01
    assert choices != [SimulatedRater(FACTS, seed=4).compare(str(item), "cup", *RANKED[:2]) for item in range(1000)]
