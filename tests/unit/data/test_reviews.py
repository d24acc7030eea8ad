"""Reading a folder of reviews and sharing them out without any text serving two purposes."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable
from pathlib import Path

import pytest

from tuningfork.data.reviews import (
    PUBLISHED_PROMPTS,
    ReviewSettings,
    first_sentences,
    normalise,
    prepare_reviews,
    read_reviews,
    split_reviews,
    word_window,
)
from tuningfork.errors import DataError

SETTINGS = ReviewSettings(
    minimum_words=5,
    passage_words=12,
    heldout_reviews=10,
    heldout_passages=5,
    train_prompts=20,
    monitor_prompts=6,
    test_prompts=8,
)
WORDS = ["plot", "actor", "scene", "song", "ending", "music", "camera", "story", "joke", "fight"]


def review(number: int, label: str | None, kind: str) -> dict[str, object]:
    body = " ".join(WORDS[(number * 7 + place * place) % 10] for place in range(14))
    row: dict[str, object] = {"id": f"{kind}/{number}", "text": f"{kind} {number} opens well. The {body} of {number}."}
    return row if label is None else {**row, "label": label}


def write(path: Path, rows: Iterable[dict[str, object]]) -> None:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text, encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    labels = ("neg", "pos")
    write(tmp_path / "train.jsonl.gz", [review(n, labels[n % 2], "train") for n in range(40)])
    write(tmp_path / "test.jsonl.gz", [review(n, labels[n % 2], "test") for n in range(20)])
    write(tmp_path / "test_part2.jsonl", [review(n, labels[n % 2], "more") for n in range(20)])
    write(tmp_path / "unsup_part1.jsonl.gz", [review(n, None, "unsup") for n in range(60)])
    return tmp_path


def read_rows(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_every_file_is_written_with_the_asked_number_of_rows(folder: Path, tmp_path: Path) -> None:
    counts = prepare_reviews(folder, tmp_path / "out", SETTINGS, seed=0)
    assert counts == {
        "pretrain": 55,
        "heldout_text": 5,
        "reward_train": 20,
        "gold_train": 20,
        "reward_heldout": 10,
        "prompts_train": 20,
        "prompts_monitor": 6,
        "prompts_test": 8,
        "prompts_published": 4,
    }
    for name, number in counts.items():
        assert len(read_rows(tmp_path / "out" / f"{name}.jsonl")) == number
    published = read_rows(tmp_path / "out" / "prompts_published.jsonl")
    assert [row["prompt"] for row in published] == list(PUBLISHED_PROMPTS)


def test_no_text_serves_two_purposes(folder: Path) -> None:
    files = split_reviews(read_reviews(folder, SETTINGS), SETTINGS, seed=3).files
    names = ("pretrain", "heldout_text", "reward_train", "gold_train", "reward_heldout")
    texts = [row["text"] for name in names for row in files[name]]
    assert len(texts) == len(set(texts))
    prompts = [row for name in ("train", "monitor", "test") for row in files[f"prompts_{name}"]]
    assert len({row["prompt"].casefold() for row in prompts}) == len(prompts) == 34
    unseen = {row["root"] for name in ("monitor", "test") for row in files[f"prompts_{name}"]}
    assert unseen.isdisjoint(row["id"] for row in files["reward_heldout"])
    assert all(len(row["prompt"].split()) == 4 for row in prompts)


def test_prompts_equal_but_for_case_and_punctuation_are_one_prompt(folder: Path) -> None:
    rows = [review(n, ("neg", "pos")[n % 2], "test") for n in range(40)]
    openings = ("This is it, friends", "this is it friends", "THIS IS IT: FRIENDS")
    for row, opening in zip(rows[:3], openings, strict=True):
        row["text"] = f"{opening} {row['text']}"
    write(folder / "test.jsonl.gz", rows)
    settings = SETTINGS.model_copy(update={"heldout_reviews": 6, "test_prompts": 40, "monitor_prompts": 6})
    prompts = split_reviews(read_reviews(folder, settings), settings, seed=0).files["prompts_test"]
    assert sum("friends" in row["prompt"].casefold() for row in prompts) == 1


def test_an_edited_repost_of_a_prompts_review_stays_out_of_pretraining(folder: Path) -> None:
    unlabelled = [review(n, None, "unsup") for n in range(60)]
    repost = "test 4 opens well. The scene is not what it was."
    source = next(row for row in (review(n, None, "test") for n in range(20)) if row["id"] == "test/4")
    opening = " ".join(str(source["text"]).split()[:8])
    write(folder / "unsup_part1.jsonl.gz", [*unlabelled, {"id": "r", "text": f"{opening} {repost}"}])
    settings = SETTINGS.model_copy(update={"heldout_reviews": 2, "test_prompts": 30, "monitor_prompts": 8})
    splits = split_reviews(read_reviews(folder, settings), settings, seed=0)
    assert "test:test/4" in {row["root"] for name in ("monitor", "test") for row in splits.files[f"prompts_{name}"]}
    assert splits.dropped["like a prompt's review"] == 1
    assert not any(opening in row["text"] for row in splits.files["pretrain"] + splits.files["heldout_text"])


def test_of_two_copies_the_test_one_is_kept(folder: Path) -> None:
    copied = review(3, "neg", "test")
    train = [review(n, ("neg", "pos")[n % 2], "train") for n in range(40)]
    write(folder / "train.jsonl.gz", [*train, {**copied, "text": str(copied["text"]).upper() + " !"}])
    corpus = read_reviews(folder, SETTINGS)
    assert corpus.dropped["repeated"] == 1
    assert len(corpus.train) == 40 and "test:test/3" in {item.id for item in corpus.test}


def test_the_same_seed_gives_the_same_bytes_and_another_seed_other_halves(folder: Path, tmp_path: Path) -> None:
    outs = [tmp_path / name for name in "abc"]
    for out, seed in zip(outs, (5, 5, 6), strict=True):
        prepare_reviews(folder, out, SETTINGS, seed=seed)
    for path in outs[0].iterdir():
        assert path.read_bytes() == (outs[1] / path.name).read_bytes()
    assert (outs[0] / "reward_train.jsonl").read_bytes() != (outs[2] / "reward_train.jsonl").read_bytes()


def test_normalise_keeps_letters_and_drops_control_characters() -> None:
    assert normalise(" a\u200b\n\n b\x07c\u00a0d  cafe\u0301 ") == "a bc d café"


@pytest.mark.parametrize(
    ("text", "words", "expected"),
    [
        ("One two. Three four! Five six.", 4, "One two. Three four!"),
        ("One two. Three four! Five six.", 5, "One two. Three four!"),
        ("One two. Three four! Five six.", 6, "One two. Three four! Five six."),
        ("one two three four five", 3, "one two three"),
        ('He said "go." Then left again', 4, 'He said "go."'),
    ],
)
def test_first_sentences_end_at_a_sentence(text: str, words: int, expected: str) -> None:
    assert first_sentences(text, words) == expected


def test_word_windows_are_consecutive_and_reach_both_ends() -> None:
    text = " ".join(str(number) for number in range(10))
    windows = {word_window(text, 4, seed=0, key=str(key)) for key in range(200)}
    assert windows == {" ".join(str(number) for number in range(start, start + 4)) for start in range(7)}
    assert word_window(text, 50, seed=0, key="x") == text


GOOD = b'{"id": 1, "text": "one two three four five six", "label": "pos"}\n'


@pytest.mark.parametrize(
    ("content", "where", "what"),
    [
        (GOOD + b"{not json\n", "train.jsonl:2", "not JSON"),
        (GOOD + b'{"id": 2, "text": "caf\xe9", "label": "pos"}\n', "train.jsonl:2", "not UTF-8"),
        (GOOD + b'{"id": 2, "label": "pos"}\n', "train.jsonl:2", '"text"'),
        (GOOD + b'["id", "text"]\n', "train.jsonl:2", '"text"'),
        (GOOD + b'{"id": 2, "text": "x", "label": 1}\n', "train.jsonl:2", "label must be"),
        (b"", "train.jsonl", "empty"),
        (b'{"id": 1, "text": "too short", "label": "pos"}\n', "train.jsonl", "empty"),
    ],
)
def test_bad_rows_name_file_and_line(folder: Path, content: bytes, where: str, what: str) -> None:
    (folder / "train.jsonl.gz").unlink()
    (folder / "train.jsonl").write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_reviews(folder, SETTINGS)
    assert where in str(caught.value) and what in str(caught.value) and "\n" not in str(caught.value)


def test_missing_folder_missing_file_and_damaged_gzip_are_named(folder: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        read_reviews(folder / "nowhere")
    whole = (folder / "train.jsonl.gz").read_bytes()
    (folder / "train.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"train\.jsonl\.gz:\d+: damaged gzip"):
        read_reviews(folder, SETTINGS)
    (folder / "train.jsonl.gz").unlink()
    with pytest.raises(DataError, match=r"no train\.jsonl"):
        read_reviews(folder, SETTINGS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"test_prompts": 100}, "test prompts of the 100"),
        ({"heldout_passages": 60}, "too few"),
        ({"train_prompts": 56}, "train prompts of the 56"),
    ],
)
def test_too_few_reviews_for_the_settings_are_an_error(folder: Path, change: dict[str, int], message: str) -> None:
    settings = SETTINGS.model_copy(update=change)
    with pytest.raises(DataError, match=message):
        split_reviews(read_reviews(folder, settings), settings, seed=0)


def test_one_label_only_is_an_error(folder: Path) -> None:
    write(folder / "train.jsonl.gz", [review(n, "pos", "train") for n in range(40)])
    with pytest.raises(DataError, match=r"reward half .* both labels"):
        split_reviews(read_reviews(folder, SETTINGS), SETTINGS, seed=0)
