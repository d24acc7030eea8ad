"""What a reward model has to beat: rules and models that understand nothing. No torch.

Each gives a score to every answer; the better answer is the one it scores higher.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

_MOST_FEATURES, _MOST_ROWS = 50_000, 20_000

Words = Sequence[tuple[str, str, str]]
"""(prompt, better, worse) texts of comparisons, or (prompt, text, "") of rated ones."""


def length_rule(words: Words, values: Sequence[float] | None) -> tuple[str, int]:
    """`longer` or `shorter`, and the sign it gives to a length: whichever is right more often on the feedback trained on."""
    if values is None:
        signs = [np.sign(len(better) - len(worse)) for _, better, worse in words]
        leaning = float(sum(signs))
    else:
        lengths = np.array([len(text) for _, text, _ in words], dtype=np.float64)
        centred = np.asarray(values, dtype=np.float64) - float(np.mean(values))
        leaning = float(((lengths - lengths.mean()) * centred).sum())
    return ("shorter", -1) if leaning < 0 else ("longer", 1)


def tfidf_scores(words: Words, values: Sequence[float] | None, answers: Sequence[str], seed: int) -> list[float]:
    """Scores of `answers` by a linear model of words and word pairs (TF-IDF), trained on the same feedback.

    Comparisons: logistic regression on the difference of the two texts, without intercept, every other one turned round, which
    changes nothing but the label.
    Values: ridge regression, or logistic regression where they are 0 and 1.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    words = words[:_MOST_ROWS]
    texts = [text for _, *pair in words for text in pair if values is None] or [text for _, text, _ in words]
    vectorizer = TfidfVectorizer(
        ngram_range=(1, 2), sublinear_tf=True, max_features=_MOST_FEATURES, min_df=2, token_pattern=r"(?u)\b\w+\b"
    )
    try:
        features = vectorizer.fit_transform(texts)
    except ValueError:  # no word occurs twice
        return [0.0] * len(answers)
    weights = _from_pairs(features, seed) if values is None else _from_values(features, values[:_MOST_ROWS], seed)
    return np.asarray(vectorizer.transform(answers) @ weights).ravel().tolist()


def _from_pairs(features: Any, seed: int) -> np.ndarray:
    from sklearn.linear_model import LogisticRegression

    differences = features[0::2] - features[1::2]
    signs = np.where(np.arange(differences.shape[0]) % 2, -1.0, 1.0)
    turned = differences.multiply(signs[:, None]).tocsr()
    return LogisticRegression(fit_intercept=False, max_iter=500, random_state=seed).fit(turned, signs > 0).coef_[0]


def _from_values(features: Any, values: Sequence[float], seed: int) -> np.ndarray:
    from sklearn.linear_model import LogisticRegression, Ridge

    if set(values) == {0.0, 1.0}:
        return LogisticRegression(max_iter=500, random_state=seed).fit(features, np.asarray(values) > 0.5).coef_[0]
    return np.asarray(Ridge(alpha=1.0, random_state=seed).fit(features, np.asarray(values)).coef_)
