"""The gold judge of descriptions: facts that are named, made up or left out, and how usual the language is."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from tuningfork.data.descriptions import DescriptionSettings, parse_facts, read_descriptions, share_out
from tuningfork.errors import DataError
from tuningfork.evals.descriptions import DescriptionsGold
from tuningfork.evals.facts import coverage, named_values
from tuningfork.evals.gold import Answer
from tuningfork.evals.word_model import WordModel

E2E = Path(__file__).resolve().parents[4] / "shared" / "data" / "nlg"
FACTS = parse_facts(
    "name[The Punter], eatType[pub], food[Italian], priceRange[cheap], customer rating[5 out of 5], area[riverside], "
    "familyFriendly[no], near[Raja Indian Cuisine]"
)


def test_a_text_that_names_everything_is_complete() -> None:
    text = (
        "The Punter is a cheap, highly rated pub by the river near Raja Indian Cuisine. It serves Italian food and is not "
        "suitable for families."
    )
    assert coverage(text, FACTS) == (1.0, 0)


@pytest.mark.parametrize(
    ("text", "right", "wrong"),
    [
        ("The Punter.", 1, 0),
        ("The Punter near Raja Indian Cuisine.", 2, 0),
        ("The Punter serves Indian food.", 1, 1),
        ("The Punter in the city centre", 1, 1),
        ("The Punter welcomes families", 1, 1),
        ("The Punter, adults only, is a restaurant", 2, 0),
        ("The Punter is a coffee shop with prices over £30", 1, 2),
        ("Aromi by the river", 1, 0),
        ("", 0, 0),
    ],
)
def test_named_and_made_up_facts(text: str, right: int, wrong: int) -> None:
    assert coverage(text, FACTS) == (right / 8, wrong)


def test_values_that_people_use_for_one_another_name_each_other() -> None:
    assert coverage("cheap, average rating", {"priceRange": "less than £20", "customer rating": "3 out of 5"})[0] == 1.0
    assert coverage("cheap", {"priceRange": "£20-25"}) == (0.0, 1)
    assert named_values("not expensive, low customer rating", {}) == {
        "priceRange": {"cheap"},
        "customer rating": {"low"},
    }


@pytest.mark.parametrize("text", ["name Aromi", "name[Aromi", "name[Aromi] and more", "name[Aromi] area[x]"])
def test_what_is_no_list_of_facts(text: str) -> None:
    with pytest.raises(DataError, match="not a list of facts"):
        parse_facts(text)


def test_a_trigram_model_by_hand() -> None:
    # one text of one word: a and the end follow what they follow; three words are possible (a, the end, any other)
    model = WordModel(["a"])
    # p(a) = (1 + 2 / 3) / (2 + 2) = 5/12; p(a | s) = (1 + 5/12) / 2 = 17/24; p(a | s s) = (1 + 17/24) / 2 = 41/48, the end alike
    assert model.bits_per_word("a") == pytest.approx(-math.log2(41 / 48))
    # an unknown word: p() = (2 / 3) / 4 = 1/6, then /2 and /2 for each context seen: 1/24; then the end without a context: 5/12
    assert model.bits_per_word("b") == pytest.approx(-(math.log2(1 / 24) + math.log2(5 / 12)) / 2)


def test_usual_language_costs_less_and_names_of_places_do_not_count() -> None:
    gold = DescriptionsGold(WordModel(["nameplace is a pub in the riverside area."] * 3))
    facts = "name[Zyx], eatType[pub]"
    row: dict[str, Any] = {"facts": facts, "references": ["Zyx is a pub."]}
    texts = ["Zyx is a pub in the riverside area.", "pub riverside Zyx the a is."]
    usual, odd = gold.judge([row, row], [Answer(text, True) for text in texts])
    assert usual["unusual"] < 1 < 3 < odd["unusual"]
    assert (usual["coverage"], usual["complete"], usual["made_up"]) == (1.0, 1.0, 1.0), "nobody said riverside"
    assert usual["rouge_l"] == pytest.approx(2 * 4 / (8 + 4))
    assert {measure.name for measure in gold.measures} == usual.keys()


def test_each_list_of_facts_serves_one_purpose() -> None:
    found = {f"name[Place {number}]": [f"It is Place {number}.", "A place."] for number in range(40)}
    files = share_out(found, DescriptionSettings(), 0)
    purposes = [{row["root"] for row in files[f"prompts_{name}"]} for name in ("train", "monitor", "test")]
    purposes.append({row["facts"] for row in files["language"]})
    assert sorted(map(len, purposes)) == [4, 6, 8, 22] and len(set[str]().union(*purposes)) == 40
    assert {row["prompt"].strip() for row in files["sft"]} == purposes[0] and len(files["sft"]) == 44
    assert files["prompts_test"][0]["references"][1] == "A place."
    assert share_out(found, DescriptionSettings(), 0) == files != share_out(found, DescriptionSettings(), 1)
    with pytest.raises(DataError, match="leave none for test and monitor"):
        share_out({"name[A]": ["x"]}, DescriptionSettings(), 0)


def test_files_that_hold_no_descriptions_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no e2e_"):
        read_descriptions(tmp_path)
    (tmp_path / "e2e_a.jsonl").write_text('{"mr": "name[A]", "ref": "A  place. "}\n{"mr": "name[A]", "refs": ["B."]}\n')
    assert read_descriptions(tmp_path) == {"name[A]": ["A place.", "B."]}
    (tmp_path / "e2e_b.jsonl").write_text('{"mr": "name[A]", "text": "A place."}\n')
    with pytest.raises(DataError, match=r"e2e_b\.jsonl: the facts 'name\[A\]' have neither"):
        read_descriptions(tmp_path)


@pytest.mark.skipif(not E2E.is_dir(), reason="needs the E2E data of ../shared/data/nlg")
def test_people_name_most_facts_and_make_up_few() -> None:
    found = [coverage(text, parse_facts(facts)) for facts, texts in read_descriptions(E2E).items() for text in texts]
    assert len(found) == 6716
    assert sum(right for right, _ in found) / len(found) > 0.92
    assert sum(wrong for _, wrong in found) / len(found) < 0.09
