"""Is a text positive? Two opinions that no reward is made of: a linear gold judge and a lexicon. No torch.

The gold judge is logistic regression on TF-IDF of one- and two-word terms: another family than the neural reward, and
fitted on labelled reviews the reward never sees. scikit-learn fits it; it is kept and scored as plain arrays.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from tuningfork.errors import DataError
from tuningfork.evals.gold import Answer, GoldMeasure, Row
from tuningfork.settings import Settings

_WORD = re.compile(r"\b\w\w+\b")
_WORD_OR_STOP = re.compile(r"[a-z]+(?:[-'][a-z]+)*\+?|[.,;:!?()]")
_NEGATIONS = frozenset({"not", "no", "never", "nothing", "neither", "nor", "without", "hardly", "barely", "cannot"})
_NEGATION_REACH = 3


class GoldSettings(Settings):
    """How the gold judge is fitted."""

    minimum_documents: int = Field(default=3, ge=1)
    """Terms in fewer reviews are left out."""
    maximum_terms: int = Field(default=150_000, ge=10)
    """At most this many terms, the most frequent ones."""
    inverse_penalty: float = Field(default=10.0, gt=0)
    """C of the logistic regression."""


@dataclass(frozen=True)
class GoldJudge:
    """Logistic regression on sublinear TF-IDF; `terms` are sorted, the arrays run along them."""

    terms: tuple[str, ...]
    inverse_document_frequency: np.ndarray
    coefficients: np.ndarray
    intercept: float

    @cached_property
    def _columns(self) -> dict[str, int]:
        return {term: column for column, term in enumerate(self.terms)}

    def logit(self, text: str) -> float:
        """Log-odds that `text` is positive: intercept + w . x / |x|, x = (1 + log count) * idf."""
        counts = Counter(column for term in terms_of(text) if (column := self._columns.get(term)) is not None)
        columns = np.fromiter(counts, dtype=np.int64, count=len(counts))
        weights = 1.0 + np.log(np.fromiter(counts.values(), dtype=np.float64, count=len(counts)))
        weights = weights * self.inverse_document_frequency[columns]
        length = math.sqrt(float(weights @ weights)) or 1.0
        return self.intercept + float(weights @ self.coefficients[columns]) / length

    def probabilities(self, texts: Sequence[str]) -> np.ndarray:
        """Probability that each text is positive, (N,)."""
        return 1.0 / (1.0 + np.exp(-np.array([self.logit(text) for text in texts], dtype=np.float64)))

    def save(self, folder: Path) -> None:
        """Write `terms.txt` (one a line), `weights.npz` and `judge.json`; nothing is pickled."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "terms.txt").write_text("\n".join(self.terms), encoding="utf-8")
        np.savez_compressed(
            folder / "weights.npz",
            inverse_document_frequency=self.inverse_document_frequency,
            coefficients=self.coefficients,
        )
        (folder / "judge.json").write_text(json.dumps({"version": 1, "intercept": self.intercept}), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> GoldJudge:
        """Read what `save` wrote; raises DataError when a file is missing or the parts do not fit."""
        try:
            terms = tuple((folder / "terms.txt").read_text(encoding="utf-8").split("\n"))
            head = json.loads((folder / "judge.json").read_text(encoding="utf-8"))
            with np.load(folder / "weights.npz", allow_pickle=False) as arrays:
                judge = cls(
                    terms, arrays["inverse_document_frequency"], arrays["coefficients"], float(head["intercept"])
                )
        except (OSError, ValueError, KeyError) as error:
            raise DataError(f"{folder}: not a gold judge ({error}); run the stage that fits it again") from error
        if not len(terms) == len(judge.coefficients) == len(judge.inverse_document_frequency):
            raise DataError(f"{folder}: terms and weights differ in number; run the stage that fits it again")
        return judge


def terms_of(text: str) -> list[str]:
    """One- and two-word terms of the lower-cased text, words of two characters and more (scikit-learn's default)."""
    words = _WORD.findall(text.lower())
    return words + [f"{first} {second}" for first, second in pairwise(words)]


def fit_gold_judge(rows: Sequence[dict[str, Any]], settings: GoldSettings | None = None) -> GoldJudge:
    """Fit on rows with `text` and `label` (neg, pos); raises DataError when a label is missing or no term repeats."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    settings = settings or GoldSettings()
    positive = np.array([row["label"] == "pos" for row in rows])
    if len(rows) == 0 or positive.all() or not positive.any():
        raise DataError(f"the gold judge needs reviews of both labels; its {len(rows)} rows have one or none")
    vectorizer = TfidfVectorizer(
        ngram_range=(1, 2),
        min_df=settings.minimum_documents,
        max_features=settings.maximum_terms,
        sublinear_tf=True,
    )
    try:
        features = vectorizer.fit_transform([row["text"] for row in rows])
    except ValueError as error:
        raise DataError(f"the gold judge finds no term in {settings.minimum_documents} reviews: {error}") from error
    model = LogisticRegression(C=settings.inverse_penalty, solver="liblinear", random_state=0)
    model.fit(features, positive)
    terms = tuple(str(term) for term in vectorizer.get_feature_names_out())
    return GoldJudge(
        terms, np.asarray(vectorizer.idf_), np.asarray(model.coef_[0]), float(np.ravel(model.intercept_)[0])
    )


@dataclass(frozen=True)
class OpinionLexicon:
    """Counts positive and negative words; within three words after a negation, in one clause, they change sides."""

    positive: frozenset[str]
    negative: frozenset[str]

    @classmethod
    def load(cls, folder: Path | None = None) -> OpinionLexicon:
        """Hu and Liu's lexicon shipped with the package, or `positive-words.txt`, `negative-words.txt` of `folder`."""
        source = files("tuningfork.data") / "opinion" if folder is None else folder
        sides: list[frozenset[str]] = []
        for name in ("positive-words.txt", "negative-words.txt"):
            try:
                words = frozenset((source / name).read_text(encoding="utf-8").split())
            except OSError as error:
                raise DataError(f"{source / name}: no such lexicon file") from error
            except UnicodeDecodeError as error:
                raise DataError(f"{source / name}: not UTF-8 at byte {error.start + 1}; convert the file") from error
            if not words:
                raise DataError(f"{source / name}: the file holds no words")
            sides.append(words)
        return cls(sides[0], sides[1])

    def balance(self, text: str) -> int:
        """Positive minus negative words of `text`, negations turned round."""
        total, reach = 0, 0
        for word in _WORD_OR_STOP.findall(text.lower().replace("\u2019", "'")):
            side = (word in self.positive) - (word in self.negative)
            total += -side if reach else side
            if word in _NEGATIONS or word.endswith("n't"):
                reach = _NEGATION_REACH
            else:
                reach = max(0, reach - 1) if word[0].isalpha() else 0
        return total

    def opinions(self, texts: Sequence[str]) -> np.ndarray:
        """1.0 for a positive, 0.0 for a negative and 0.5 for a balanced text, (N,)."""
        return np.array([0.5 + 0.5 * np.sign(self.balance(text)) for text in texts], dtype=np.float64)


@dataclass(frozen=True)
class Agreement:
    """How far two judges agree over n texts; `kappa` is Cohen's, agreement beyond chance (nan if one never varies)."""

    share: float
    kappa: float
    n: int


def agreement(first: np.ndarray, second: np.ndarray) -> Agreement:
    """Agreement of two arrays of probabilities cut at one half; texts that either judge leaves at 0.5 do not count."""
    if len(first) != len(second):
        raise DataError(f"two judges must judge the same texts: {len(first)} and {len(second)}")
    decided = (first != 0.5) & (second != 0.5)
    a, b = first[decided] > 0.5, second[decided] > 0.5
    if not len(a):
        return Agreement(math.nan, math.nan, 0)
    share = float((a == b).mean())
    chance = float(a.mean() * b.mean() + (1 - a.mean()) * (1 - b.mean()))
    return Agreement(share, (share - chance) / (1 - chance) if chance < 1 else math.nan, len(a))


_MEASURES = (
    GoldMeasure(
        "positive_share",
        "headline",
        "higher",
        "share of texts, prompt and answer, that the gold judge calls positive",
        label="positive by the gold judge",
    ),
    GoldMeasure(
        "positive_by_lexicon",
        "info",
        "higher",
        "the same by the opinion lexicon; balanced texts count half",
        label="positive by the lexicon",
    ),
)


def load_gold(folder: Path) -> SentimentGold:
    """The gold judge of sentiment, an artifact folder of the stage `gold`."""
    return SentimentGold(GoldJudge.load(folder), OpinionLexicon.load())


@dataclass(frozen=True)
class SentimentGold:
    """The linear judge and the lexicon in the form that `evaluate` uses."""

    linear: GoldJudge
    lexicon: OpinionLexicon
    measures: Sequence[GoldMeasure] = _MEASURES

    def judge(self, rows: Sequence[Row], answers: Sequence[Answer]) -> list[dict[str, float]]:
        """Whether prompt and answer together are positive, by both."""
        texts = [row["prompt"] + answer.text for row, answer in zip(rows, answers, strict=True)]
        opinions = zip(self.linear.probabilities(texts), self.lexicon.opinions(texts), strict=True)
        return [{"positive_share": float(p > 0.5), "positive_by_lexicon": float(o)} for p, o in opinions]

    def compare(self, rows: Sequence[Row], before: Sequence[Answer], after: Sequence[Answer]) -> list[dict[str, float]]:
        """Nothing is measured of pairs."""
        return [{} for _ in rows]
