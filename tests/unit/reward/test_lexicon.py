"""Lexicon rewards by hand values, word boundaries, file formats and their mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tuningfork.errors import DataError
from tuningfork.reward.base import Item
from tuningfork.reward.kinds.lexicon import Lexicon, normalise_text, read_lexicon


def found(weights: list[str], text: str) -> list[str]:
    return list(Lexicon(dict.fromkeys(weights, 1.0)).find(normalise_text(text)))


def test_per_100_words_by_hand() -> None:
    # 8 words; good twice (+1 each), bad once (-2): positive 2 / 8 * 100 = 25, negative -2 / 8 * 100 = -25
    (score,) = Lexicon({"good": 1.0, "bad": -2.0}).score([Item("good", "Good food, good wine and a bad waiter")])
    assert score.total == pytest.approx(0.0)
    assert score.parts == {"positive": pytest.approx(25.0), "negative": pytest.approx(-25.0)}


def test_presence_counts_an_entry_once() -> None:
    (score,) = Lexicon({"good": 1.0, "fine": 0.5}, "presence").score([Item("", "good good good and fine")])
    assert score.total == pytest.approx(1.5)


def test_repeating_a_text_does_not_raise_the_score() -> None:
    once, twice = Lexicon({"good": 1.0}).score([Item("", "a good film"), Item("", "a good film a good film")])
    assert once.total == pytest.approx(twice.total)


def test_the_prompt_counts_only_where_asked_for() -> None:
    item = Item("good ", "bad")
    assert Lexicon({"good": 1.0}).score([item])[0].total == 0
    assert Lexicon({"good": 1.0}, reads="prompt_and_response").score([item])[0].total == pytest.approx(50.0)


@pytest.mark.parametrize("text", ["", " ", "...!"])
def test_a_text_without_words_scores_zero(text: str) -> None:
    assert Lexicon({"good": 1.0}).score([Item("", text)])[0].total == 0


@pytest.mark.parametrize(
    ("entries", "text", "expected"),
    [
        (["red"], "the red, tired, bored RED_ Red.", ["red", "red"]),
        (["a+"], "a plus, a+ and a++ a+b", ["a+", "a+", "a+"]),
        (["rose", "rose gold"], "rose gold and a rose\n  GOLD rose", ["rose gold", "rose gold", "rose"]),
        (["rose gold"], "rose golden", []),
        (["don't"], "Don’t, do not, don'ts", ["don't"]),
        (["straße"], "STRASSE strasse straßen", ["strasse", "strasse"]),
        (["café"], "cafe\u0301 cafés", ["café"]),
        ([":)"], "well :):) ", [":)", ":)"]),
        (["good", "go"], "good go", ["good", "go"]),
    ],
)
def test_entries_are_found_at_word_boundaries(entries: list[str], text: str, expected: list[str]) -> None:
    assert found(entries, text) == expected


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("words.txt", "# comment\n; comment\ngood\n\nRose  Gold\n", {"good": 1.0, "rose gold": 1.0}),
        ("words.tsv", "good\t1.5\nbad\t-2\n", {"good": 1.5, "bad": -2.0}),
        ("words.json", '{"good": 1, "bad": -0.5}', {"good": 1.0, "bad": -0.5}),
        ("words.yaml", "good: 1\nbad: -0.5\n", {"good": 1.0, "bad": -0.5}),
        ("words.yml", "- good\n- fine\n", {"good": 1.0, "fine": 1.0}),
    ],
)
def test_file_formats(tmp_path: Path, name: str, content: str, expected: dict[str, float]) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    assert read_lexicon(tmp_path / name) == expected


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("words.txt", b"good\nna\xefve\n", r"words\.txt:2: not UTF-8"),
        ("words.txt", b"# nothing\n", r"words\.txt: no words"),
        ("words.tsv", b"good\t1\nbad\tmuch\n", r"words\.tsv:2: the weight 'much' is not a number"),
        ("words.tsv", b"good\tnan\n", r"words\.tsv:1: the weight 'nan' is not finite"),
        ("words.tsv", b"Good\t1\ngood\t2\n", r"words\.tsv:2: 'good' has two weights, 1 and 2"),
        ("words.json", b'{"good": 1,\n}', r"words\.json:2: not JSON"),
        ("words.json", b'"good"', r"words\.json: a lexicon is a mapping"),
        ("words.yaml", b"good: 1\n bad: [\n", r"words\.yaml:2: not YAML"),
        ("words.yaml", b"no: 1\n", r"words\.yaml: the word False has to be in quotation marks"),
        ("words.yaml", b"good:\n", r"words\.yaml: good: the weight None is not a number"),
    ],
)
def test_mistakes_in_files_are_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_lexicon(tmp_path / name)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.txt: cannot be read"):
        read_lexicon(tmp_path / "absent.txt")
