"""Labelled and unlabelled reviews in, the disjoint data files of a sentiment run out. No torch.

A folder holds `train.jsonl[.gz]` and `test*.jsonl[.gz]` (id, text, label) and `unsup*.jsonl[.gz]` (id, text).
Every review serves one purpose only, decided by its normalised text and the seed:

    unlabelled   pretraining passages and the prompts RL trains on | held-out passages for bits per byte
    train        reward half | gold half
    test files   held-out accuracy of reward and gold | monitor prompts | test prompts
"""

from __future__ import annotations

import gzip
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from tuningfork.errors import DataError
from tuningfork.randomness import derive_seed, numpy_generator
from tuningfork.settings import Settings

Label = Literal["neg", "pos"]

PUBLISHED_PROMPTS = (
    "I don't know much about Hungarian underground",
    "It's well-paced, fun and",
    "Hmm... here's what I thought:",
    "This movie was",
)
"""Prompts whose samples are shown, never tested. The first is the evaluation prompt of the published trlX sentiment scripts; the
other three are our own stand-ins."""

_SENTENCE_END = re.compile(r"[.!?][\"')\]]*(?=\s)")
_ASCII_PUNCTUATION = bytes(code for code in range(128) if not chr(code).isalnum())
_OPENING_WORDS = 8


class ReviewSettings(Settings):
    """How reviews are cut and shared out."""

    prompt_words: int = Field(default=4, ge=1)
    """First words of a review that make a prompt."""
    passage_words: int = Field(default=90, ge=10)
    """Pretraining and held-out passages: whole sentences from the start of a review, at most this many words."""
    minimum_words: int = Field(default=20, ge=5)
    """Reviews with fewer words are dropped and counted."""
    heldout_reviews: int = Field(default=2000, ge=1)
    """Labelled test reviews kept for the accuracy of reward and gold judge."""
    heldout_passages: int = Field(default=400, ge=1)
    """Unlabelled passages kept for bits per byte and perplexity."""
    train_prompts: int = Field(default=8000, ge=1)
    """Prompts RL trains on."""
    monitor_prompts: int = Field(default=200, ge=1)
    """Prompts the gold judge may watch during training."""
    test_prompts: int = Field(default=500, ge=1)
    """Prompts read once, by the evaluation."""


@dataclass(frozen=True)
class Review:
    """One review: `id` is unique over all files; `label` is None for unlabelled ones."""

    id: str
    text: str
    label: Label | None = None

    @property
    def key(self) -> bytes:
        """What two copies of a review share: case folded, without ASCII white space and punctuation."""
        return _letters(self.text)


@dataclass
class ReviewCorpus:
    """What a folder of reviews holds, normalised, each text once; `dropped` counts rows left out and why."""

    train: list[Review]
    test: list[Review]
    unlabelled: list[Review]
    dropped: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class ReviewSplits:
    """Rows of every data file, by file name without `.jsonl`, and counts for the stage's card."""

    files: dict[str, list[dict[str, Any]]]
    dropped: dict[str, int]

    def write(self, folder: Path) -> dict[str, int]:
        """Write `<name>.jsonl` for each file into `folder`; rows written by name."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, rows in self.files.items():
            with open(folder / f"{name}.jsonl", "w", encoding="utf-8") as handle:
                handle.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        return {name: len(rows) for name, rows in self.files.items()}


def prepare_reviews(folder: str | Path, out: Path, settings: ReviewSettings, *, seed: int) -> dict[str, int]:
    """Read `folder`, share the reviews out and write the data files into `out`; rows written by file name."""
    return split_reviews(read_reviews(folder, settings), settings, seed=seed).write(out)


def normalise(text: str) -> str:
    """NFC, control and invisible characters removed, every run of white space one space."""
    spaced = " ".join(unicodedata.normalize("NFC", text).split())
    if spaced.isprintable():
        return spaced
    return " ".join("".join(char for char in spaced if char.isprintable() or char == " ").split())


def read_reviews(folder: str | Path, settings: ReviewSettings | None = None) -> ReviewCorpus:
    """All reviews of `folder`; raises DataError with file and line for a missing, empty or malformed file."""
    folder = Path(folder)
    settings = settings or ReviewSettings()
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder of reviews; give the folder that holds train.jsonl.gz")
    dropped = {"short": 0, "repeated": 0}
    seen: set[bytes] = set()

    def load(stem: str, labelled: bool) -> list[Review]:
        paths = sorted(path for suffix in ("jsonl", "jsonl.gz") for path in folder.glob(f"{stem}.{suffix}"))
        if not paths:
            raise DataError(f"{folder}: no {stem}.jsonl or {stem}.jsonl.gz; see the format in the recipe's docs")
        kept: list[Review] = []
        for review in (review for path in paths for review in _read_file(path, labelled)):
            if len(review.text.split()) < settings.minimum_words:
                dropped["short"] += 1
            elif (key := review.key) in seen:
                dropped["repeated"] += 1
            else:
                seen.add(key)
                kept.append(review)
        if not kept:
            raise DataError(f"{paths[0]}: no review of at least {settings.minimum_words} words; the data is empty")
        return kept

    # Test files first: of two copies the one that must stay unseen is kept.
    test, train = load("test*", True), load("train", True)
    return ReviewCorpus(train, test, load("unsup*", False), dropped)


def split_reviews(corpus: ReviewCorpus, settings: ReviewSettings, *, seed: int) -> ReviewSplits:
    """Share every review out to one purpose; raises DataError when there are too few reviews for the settings."""
    test = _shuffled(corpus.test, seed, "test")
    heldout, prompt_pool = test[: settings.heldout_reviews], test[settings.heldout_reviews :]
    taken = {_letters(prompt) for prompt in PUBLISHED_PROMPTS}
    test_prompts = _take_prompts(prompt_pool, settings.test_prompts, settings, taken, "test")
    monitor_prompts = _take_prompts(prompt_pool, settings.monitor_prompts, settings, taken, "monitor")

    # A repost with small edits has another key but the same opening: keep it out of pretraining too.
    roots = {row["root"] for row in (*test_prompts, *monitor_prompts)}
    openings = {_opening(review.text) for review in prompt_pool if review.id in roots}
    unlabelled = _shuffled(corpus.unlabelled, seed, "unlabelled")
    clean = [review for review in unlabelled if _opening(review.text) not in openings]
    heldout_text, pretrain = clean[: settings.heldout_passages], clean[settings.heldout_passages :]
    if not pretrain:
        raise DataError(f"{len(clean)} unlabelled reviews are too few: {settings.heldout_passages} are held out")
    train_prompts = _take_prompts(pretrain, settings.train_prompts, settings, taken, "train")

    train = _shuffled(corpus.train, seed, "halves")
    reward, gold = train[: len(train) // 2], train[len(train) // 2 :]
    for name, rows in (("reward half", reward), ("gold half", gold), ("held-out reviews", heldout)):
        if {review.label for review in rows} != {"neg", "pos"}:
            raise DataError(f"the {name} ({len(rows)} reviews) need both labels, neg and pos")
    files: dict[str, list[dict[str, Any]]] = {
        "pretrain": [{"text": first_sentences(review.text, settings.passage_words)} for review in pretrain],
        "heldout_text": [{"text": first_sentences(review.text, settings.passage_words)} for review in heldout_text],
        "reward_train": [_labelled(review) for review in reward],
        "reward_heldout": [_labelled(review) for review in heldout],
        "gold_train": [_labelled(review) for review in gold],
        "prompts_train": train_prompts,
        "prompts_monitor": monitor_prompts,
        "prompts_test": test_prompts,
        "prompts_published": [
            {"id": f"published/{index}", "prompt": prompt, "root": f"published/{index}"}
            for index, prompt in enumerate(PUBLISHED_PROMPTS)
        ],
    }
    return ReviewSplits(files, {**corpus.dropped, "like a prompt's review": len(unlabelled) - len(clean)})


def first_sentences(text: str, words: int) -> str:
    """Whole sentences from the start, at most `words` words; a first sentence that is longer is cut."""
    head = " ".join(text.split()[: words + 1])
    if len(head.split()) <= words:
        return head
    ends = [match.end() for match in _SENTENCE_END.finditer(head)]
    return head[: ends[-1]] if ends else " ".join(head.split()[:words])


def word_window(text: str, words: int, *, seed: int, key: str) -> str:
    """`words` consecutive words from a random place that depends on (seed, key) only; all of a shorter text."""
    parts = text.split()
    start = derive_seed(seed, "word_window", words, key) % max(1, len(parts) - words + 1)
    return " ".join(parts[start : start + words])


def _read_file(path: Path, labelled: bool) -> Iterator[Review]:
    opener = gzip.open if path.suffix == ".gz" else open
    source = path.name.split(".")[0]
    number = 0
    try:
        with opener(path, "rb") as handle:
            for number, raw in enumerate(handle, start=1):
                if raw.strip():
                    yield _parse(raw, f"{path}:{number}", source, labelled)
    except (EOFError, gzip.BadGzipFile) as error:
        raise DataError(f"{path}:{number + 1}: damaged gzip file ({error}); fetch it again") from error
    if number == 0:
        raise DataError(f"{path}: the file is empty")


def _parse(raw: bytes, where: str, source: str, labelled: bool) -> Review:
    try:
        row = json.loads(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: not UTF-8 at byte {error.start + 1} of the line; convert the file") from error
    except json.JSONDecodeError as error:
        raise DataError(f"{where}: not JSON ({error.msg}); each line must be one JSON object") from error
    if not isinstance(row, dict) or not isinstance(row.get("text"), str) or "id" not in row:
        raise DataError(f'{where}: a review needs "id" and a string "text"')
    if labelled and row.get("label") not in ("neg", "pos"):
        raise DataError(f'{where}: label must be "neg" or "pos", not {row.get("label")!r}')
    return Review(f"{source}:{row['id']}", normalise(row["text"]), row["label"] if labelled else None)


def _take_prompts(
    pool: Iterable[Review], count: int, settings: ReviewSettings, taken: set[bytes], name: str
) -> list[dict[str, Any]]:
    """The first `count` reviews of `pool` whose prompt is not in `taken` yet; adds theirs to it."""
    rows: list[dict[str, Any]] = []
    for review in pool:
        prompt = " ".join(review.text.split()[: settings.prompt_words])
        if len(rows) < count and (key := _letters(prompt)) not in taken:
            taken.add(key)
            rows.append({"id": f"{name}/{len(rows)}", "prompt": prompt, "root": review.id})
    if len(rows) < count:
        raise DataError(f"only {len(rows)} different {name} prompts of the {count} asked for; lower {name}_prompts")
    return rows


def _letters(text: str) -> bytes:
    return text.casefold().encode().translate(None, _ASCII_PUNCTUATION)


def _opening(text: str) -> bytes:
    return _letters(" ".join(text.split()[:_OPENING_WORDS]))


def _labelled(review: Review) -> dict[str, Any]:
    return {"id": review.id, "text": review.text, "label": review.label}


def _shuffled(reviews: Sequence[Review], seed: int, purpose: str) -> list[Review]:
    order = numpy_generator(seed, "reviews", purpose).permutation(len(reviews))
    return [reviews[index] for index in order]
