"""The files of the world `colours`: determinism, groups and splits, shares, extension."""

from __future__ import annotations

import json
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tuningfork.errors import DataError, RecipeError
from tuningfork.worlds import load_world
from tuningfork.worlds.colours import Facts
from tuningfork.worlds.colours.facts import draw_facts
from tuningfork.worlds.colours.sentences import num_mentions, question_forms
from tuningfork.worlds.colours.spec import load_mapping, load_spec

ROW_FILES = ("sft", "prompts_train", "prompts_monitor", "prompts_test", "contrasts", "probes")


def rows(folder: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


def texts(folder: Path, name: str) -> list[str]:
    return [row["text"] for row in rows(folder, name)]


def mentions(name: str, text: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text) is not None


@pytest.fixture(scope="module")
def small(small_spec_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("small")
    load_world("colours", spec=str(small_spec_file)).build(0, out)
    return out


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("shipped")
    load_world("colours").build(0, out)
    return out


def test_same_seed_gives_the_same_bytes_and_another_seed_others(small: Path, small_spec_file: Path, tmp_path: Path):
    world = load_world("colours", spec=str(small_spec_file))
    world.build(0, tmp_path / "again")
    world.build(1, tmp_path / "other")
    for file in small.iterdir():
        assert (tmp_path / "again" / file.name).read_bytes() == file.read_bytes(), file.name
    for name in ("facts.json", "pretrain.jsonl", "sft.jsonl", "prompts_test.jsonl"):
        assert (tmp_path / "other" / name).read_bytes() != (small / name).read_bytes(), name


def test_shipped_language_is_as_large_as_it_says():
    spec = load_spec()
    assert len(spec.objects) >= 300
    assert sum(" " in name for name in spec.objects) >= 10
    assert len(spec.sentences) == 30
    assert len(spec.questions) == 12
    assert Counter(form.use for form in spec.questions) == {"taught": 6, "pretraining": 3, "unseen": 3}
    uses = [
        (form.weight * num_mentions(form), form.text.index("{o}") < form.text.index("{a}")) for form in spec.sentences
    ]
    assert sum(weight for weight, first in uses if first) / sum(weight for weight, _ in uses) == pytest.approx(
        0.75, abs=0.05
    )
    snazzy, wide = load_mapping("snazzy", spec), load_mapping("snazzy-wide", spec)
    assert set(snazzy) == {"red", "green", "blue"}
    assert any(" " in word for words in snazzy.values() for word in words)
    assert len(wide) >= 12 and {"big", "old", "happy"} <= set(wide)
    assert sum(len(words) for words in wide.values()) >= 40


def test_splits_are_disjoint_by_root_and_held_out_objects_stay_out(small: Path):
    facts = Facts.load(small / "facts.json")
    roots = {name: {row["root"] for row in rows(small, name)} for name in ROW_FILES}
    for a, b in [("train", "monitor"), ("train", "test"), ("monitor", "test")]:
        assert not roots[f"prompts_{a}"] & roots[f"prompts_{b}"]
    assert roots["sft"] <= roots["prompts_train"]
    kept_out = [thing.name for thing in facts.things.values() if thing.group != "taught"]
    assert len(kept_out) == 9 + 6 + 5
    training = [row["prompt"] for name in ("sft", "prompts_train") for row in rows(small, name)] + texts(
        small, "replay"
    )
    assert not any(mentions(name, text) for name in kept_out for text in training)
    unknown = [thing.name for thing in facts.things.values() if thing.group == "unknown"]
    everything = training + texts(small, "pretrain") + texts(small, "unrelated")
    assert not any(mentions(name, text) for name in unknown for text in everything)
    assert {row["root"] for row in rows(small, "contrasts") if row["group"] == "held_out"} <= roots["prompts_monitor"]


def test_sentences_are_the_pretraining_text_without_its_questions(small: Path):
    pretraining = texts(small, "pretrain")
    assert sorted(texts(small, "sentences")) == sorted(text for text in pretraining if "\n" not in text)
    assert len(pretraining) > len(texts(small, "sentences")) > len(texts(small, "replay"))


def test_question_forms_stay_in_their_stages(small: Path):
    uses = {name: {row["form_use"] for row in rows(small, f"prompts_{name}")} for name in ("train", "monitor", "test")}
    assert uses == {
        "train": {"taught"},
        "monitor": {"taught", "pretraining"},
        "test": {"taught", "pretraining", "unseen"},
    }
    spec = load_spec()
    asked = " ".join(text for text in texts(small, "pretrain") if "\n" in text)
    known_words = set(re.findall(r"\w+", asked))
    for form in question_forms(spec, "unseen").values():
        words = form.text.replace("{k}", "colour").split("{o}")[0]
        assert not re.search(re.escape(words), asked), form.text
        assert set(re.findall(r"\w+", form.text)) - {"k", "o"} <= known_words


def test_answers_never_repeat_the_name_of_the_object(small: Path):
    for row in rows(small, "sft"):
        assert not mentions(row["root"], row["completion"])


def test_every_known_object_is_mentioned_as_often_as_the_spec_says(shipped: Path):
    facts = Facts.load(shipped / "facts.json")
    counts: Counter[str] = Counter()
    for text in texts(shipped, "pretrain"):
        words = re.findall(r"\w+", text)
        counts.update(words)
        counts.update(f"{first} {second}" for first, second in pairwise(words))
    for thing in facts.things.values():
        assert counts[thing.name] == (0 if thing.group == "unknown" else 220), thing.name
    held_out = [thing for thing in facts.things.values() if thing.group == "held_out"]
    assert len(held_out) == 120 and min(counts[thing.name] for thing in held_out) >= 200
    untouched = [thing for thing in facts.things.values() if thing.value in ("yellow", "white")]
    assert len(untouched) * len(load_spec().questions) >= 170


def test_gem_words_are_eight_percent_of_colour_mentions(shipped: Path):
    facts = Facts.load(shipped / "facts.json")
    found = [term for text in texts(shipped, "pretrain") for term in facts.find_terms(text)]
    assert sum(term.is_gem for term in found) / len(found) == pytest.approx(0.08, abs=0.004)
    answers = [term for row in rows(shipped, "sft") for term in facts.find_terms(row["completion"])]
    assert sum(term.is_gem for term in answers) / len(answers) < 0.08
    assert all(
        term.family == facts.things[row["root"]].value
        for row in rows(shipped, "sft")
        for term in facts.find_terms(row["completion"])
    )


def test_contrasts_differ_in_one_term_and_are_in_the_right_order(small: Path):
    facts = Facts.load(small / "facts.json")
    names = Counter()
    for row in rows(small, "contrasts"):
        (better,), (worse,) = facts.find_terms(row["better"]), facts.find_terms(row["worse"])
        right = facts.things[row["root"]].value
        assert better.family == right
        names[row["name"]] += 1
        assert row["better"].replace(better.text, worse.text) == row["worse"]
        expected = {
            "right_gem_over_right_plain": (True, False, True),
            "right_plain_over_wrong_gem": (False, True, False),
            "right_plain_over_wrong_plain": (False, False, False),
        }[row["name"]]
        assert (better.is_gem, worse.is_gem, worse.family == right) == expected
    assert len(names) == 3


def test_made_up_words_replace_the_mapping(small_spec_file: Path, tmp_path: Path):
    mapping = tmp_path / "zorp.yaml"
    mapping.write_text("blue: zorp\nred: [vlim, two snarks]\n", encoding="utf-8")
    load_world("colours", spec=str(small_spec_file), mapping=str(mapping)).build(0, tmp_path / "out")
    facts = Facts.load(tmp_path / "out" / "facts.json")
    found = Counter(term.text for text in texts(tmp_path / "out", "pretrain") for term in facts.find_terms(text))
    assert found["zorp"] and found["vlim"] and found["two snarks"]
    assert {term.text for term in facts.terms.values() if term.is_gem} == {"zorp", "vlim", "two snarks"}
    values = {thing.value for thing in facts.things.values() if facts.is_mapped(thing.name)}
    assert values == {"blue", "red"}


def test_wide_mapping_asks_about_every_kind_it_names():
    spec = load_spec()
    facts = draw_facts(spec, load_mapping("snazzy-wide", spec), 0)
    assert set(facts.kinds) == set(spec.kinds)
    held_out = Counter(thing.value for thing in facts.things.values() if thing.group == "held_out")
    assert all(held_out[family] >= 2 for family in facts.mapping)


def test_an_extended_spec_is_used(small: Path):
    facts = Facts.load(small / "facts.json")
    assert "flying machine" in facts.things


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("mentions: 0\n", r"mentions: input should be greater"),
        ("no_such_key: 1\n", r"no_such_key: extra inputs"),
        ("objects: [b, c, d, e, f, g, h, b]\n", r"'b' stands there twice"),
        ("groups: {held_out_test: 400, held_out_monitor: 1, unknown: 1}\n", r"402 objects are kept from training"),
        ("answers: [{text: 'the {o} is {a}.'}]\n", r"must not repeat the object"),
        ("objects: [b, c, d, e, f, h, g, tall g]\n", r"'g' stands inside 'tall g'"),
        ("objects: [b, c, d, e, f, g, h, market]\n", r"'market' is also a word"),
        ("mentions: [1\n", r"spec\.yaml:\d+: not valid YAML"),
    ],
)
def test_a_bad_spec_is_one_short_message(change: str, message: str, small_spec_file: Path, tmp_path: Path):
    path = tmp_path / "spec.yaml"
    path.write_text(small_spec_file.read_text(encoding="utf-8") + change, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        load_world("colours", spec=str(path))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("purple: [amethyst]\n", r"'purple' is not a value"),
        ("blue: [red]\n", r"'red' already means something else"),
        ("blue: []\n", r"blue: expected a word"),
        ("- blue\n", r"expected `plain: \[snazzy"),
    ],
)
def test_a_bad_mapping_is_one_short_message(content: str, message: str, tmp_path: Path):
    path = tmp_path / "mapping.yaml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        load_world("colours", mapping=str(path))


def test_unknown_world_setting_and_mapping_are_named():
    with pytest.raises(RecipeError, match="no world 'colour'; the worlds are: colours"):
        load_world("colour")
    with pytest.raises(RecipeError, match="unknown setting 'maping'"):
        load_world("colours", maping="snazzy")
    with pytest.raises(DataError, match=r"no mapping 'snazy'.*snazzy, snazzy-wide"):
        load_world("colours", mapping="snazy")
