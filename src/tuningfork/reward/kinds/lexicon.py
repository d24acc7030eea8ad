"""A list of words with weights as reward: how much of a response they are, or which of them occur."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml

import tuningfork.settings
from tuningfork.errors import DataError
from tuningfork.reward.base import Item, Reward, RewardSources, Score, TextPart
from tuningfork.settings import Input

_WORD = re.compile(r"\w+(?:'\w+)*")
_START = re.compile(r"\w+|[^\w\s]")


class Settings(tuningfork.settings.Settings):
    """Settings of a lexicon as reward."""

    words: Input
    """file of words: .yaml or .json (word: weight, or a list), else one entry a line, `word` or `word<TAB>weight`;
    lines that begin with # or ; are comments"""
    counts: Literal["per_100_words", "presence"] = "per_100_words"
    """`per_100_words`: sum of weights of all occurrences per 100 words, so that longer texts do not win; `presence`:
    sum of weights of the entries that occur at all"""
    reads: TextPart = "response"
    """where the words are looked for"""


def load(settings: Settings, sources: RewardSources) -> Reward:
    """The lexicon; DataError with file and line for what is not one."""
    return Lexicon(read_lexicon(Path(sources.inputs["words"].reference)), settings.counts, settings.reads)


class Lexicon:
    """Weighted occurrences of words and phrases, compared without case and only at word boundaries.

    Where entries overlap the longest at the leftmost place counts. A text without words scores 0.
    """

    def __init__(
        self,
        weights: Mapping[str, float],
        counts: Literal["per_100_words", "presence"] = "per_100_words",
        reads: TextPart = "response",
    ) -> None:
        self.counts = counts
        self.reads: TextPart = reads
        self.weights = {normalise_text(word): weight for word, weight in weights.items()}
        self._by_start: dict[str, list[str]] = {}
        for word in sorted(self.weights, key=len, reverse=True):
            start = _START.match(word)
            assert start is not None, "an entry is not empty"
            self._by_start.setdefault(start.group(), []).append(word)

    def score(self, items: Sequence[Item]) -> list[Score]:
        """One score an item, with what came from positive and from negative weights as its parts."""
        return [self._score(normalise_text(item.text(self.reads))) for item in items]

    def _score(self, text: str) -> Score:
        found = list(self.find(text))
        if self.counts == "presence":
            weights, scale = [self.weights[word] for word in set(found)], 1.0
        else:
            weights = [self.weights[word] for word in found]
            scale = 100.0 / max(1, len(_WORD.findall(text)))
        positive = scale * math.fsum(weight for weight in weights if weight > 0)
        negative = scale * math.fsum(weight for weight in weights if weight < 0)
        return Score(positive + negative, {"positive": positive, "negative": negative})

    def find(self, text: str) -> Iterator[str]:
        """Entries in normalised text, from left to right, without overlap."""
        end = 0
        for start in _START.finditer(text):
            if start.start() < end:
                continue
            for word in self._by_start.get(start.group(), ()):
                if text.startswith(word, start.start()) and _ends_at_boundary(text, start.start() + len(word)):
                    end = start.start() + len(word)
                    yield word
                    break


def normalise_text(text: str) -> str:
    """Unicode NFKC, case folded, straight apostrophes, single spaces."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().replace("’", "'").split())


def read_lexicon(path: Path) -> dict[str, float]:
    """Word -> weight of a file; DataError when it is empty or unreadable, or a weight is missing or contradicted."""
    try:
        content = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}:{line}: not UTF-8; save the file as UTF-8") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    entries = _parsed(path, content) if path.suffix in (".yaml", ".yml", ".json") else _lines(path, content)
    weights: dict[str, float] = {}
    for where, word, weight in entries:
        word = normalise_text(word)
        if not word:
            raise DataError(f"{where}: an entry without a word")
        if weights.setdefault(word, weight) != weight:
            raise DataError(f"{where}: {word!r} has two weights, {weights[word]:g} and {weight:g}; keep one")
    if not weights:
        raise DataError(f"{path}: no words; the file is empty")
    return weights


def _lines(path: Path, content: str) -> Iterator[tuple[str, str, float]]:
    for number, line in enumerate(content.splitlines(), 1):
        if line.strip() and line.lstrip()[0] not in "#;":
            word, tab, weight = line.partition("\t")
            yield f"{path}:{number}", word, _weight(f"{path}:{number}", weight) if tab else 1.0


def _parsed(path: Path, content: str) -> Iterator[tuple[str, str, float]]:
    try:
        loaded: Any = json.loads(content) if path.suffix == ".json" else yaml.safe_load(content)
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{error.lineno}: not JSON ({error.msg})") from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise DataError(f"{path}:{line}: not YAML ({error.problem})") from error
    if isinstance(loaded, list):
        loaded = dict.fromkeys(loaded, 1.0)
    if not isinstance(loaded, dict):
        raise DataError(f"{path}: a lexicon is a mapping of words to weights, or a list of words")
    for word, weight in loaded.items():
        if not isinstance(word, str):
            raise DataError(f"{path}: the word {word!r} has to be in quotation marks")
        yield str(path), word, _weight(f"{path}: {word}", weight)


def _weight(where: str, value: Any) -> float:
    try:
        weight = float(value)
    except (TypeError, ValueError) as error:
        raise DataError(f"{where}: the weight {value!r} is not a number") from error
    if not math.isfinite(weight):
        raise DataError(f"{where}: the weight {value!r} is not finite")
    return weight


def _ends_at_boundary(text: str, end: int) -> bool:
    """Whether no word goes on at `end`."""
    return end == len(text) or not (_is_word(text[end - 1]) and _is_word(text[end]))


def _is_word(character: str) -> bool:
    return character.isalnum() or character == "_"
