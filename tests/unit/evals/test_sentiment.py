"""The gold judge scores as scikit-learn does and survives saving; the lexicon turns negations round."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from tuningfork.errors import DataError
from tuningfork.evals.sentiment import (
    Agreement,
    GoldJudge,
    GoldSettings,
    OpinionLexicon,
    agreement,
    fit_gold_judge,
    terms_of,
)

GOOD = ["lovely", "warm", "funny", "clever", "moving"]
BAD = ["dull", "cold", "stupid", "broken", "tedious"]
NEUTRAL = ["the", "film", "has", "a", "plot", "and", "two", "actors", "in", "it"]


def make_rows(count: int, seed: int) -> list[dict[str, str]]:
    draws = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        words = [*draws.choice(GOOD if number % 2 else BAD, 3), *draws.choice(NEUTRAL, 8)]
        draws.shuffle(words)
        rows.append({"text": " ".join(words), "label": "pos" if number % 2 else "neg"})
    return rows


@pytest.fixture(scope="module")
def judge() -> GoldJudge:
    return fit_gold_judge(make_rows(200, seed=0))


def test_a_score_worked_by_hand() -> None:
    judge = GoldJudge(("fun", "not", "not fun"), np.array([1.0, 2.0, 3.0]), np.array([1.0, -1.0, -2.0]), 0.5)
    # "not fun fun": not x1, fun x2, "not fun" x1, "fun fun" unknown; weights 2, 1 + ln 2, 3
    fun = 1 + math.log(2)
    expected = 0.5 + (1.0 * fun - 1.0 * 2 - 2.0 * 3) / math.sqrt(fun**2 + 2**2 + 3**2)
    assert judge.logit("Not FUN, fun!") == pytest.approx(expected, rel=1e-12)
    assert judge.probabilities(["Not FUN, fun!"])[0] == pytest.approx(1 / (1 + math.exp(-expected)), rel=1e-12)
    assert judge.logit("zebra") == 0.5


def test_scores_equal_scikit_learns() -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    rows, unseen = make_rows(120, seed=1), [row["text"] for row in make_rows(40, seed=2)] + ["", "zebra zebra"]
    reference = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), min_df=3, sublinear_tf=True),
        LogisticRegression(C=10.0, solver="liblinear", random_state=0),
    ).fit([row["text"] for row in rows], [row["label"] == "pos" for row in rows])
    ours = fit_gold_judge(rows).probabilities(unseen)
    np.testing.assert_allclose(ours, reference.predict_proba(unseen)[:, 1], rtol=0, atol=1e-9)


def test_it_tells_unseen_good_from_bad(judge: GoldJudge) -> None:
    rows = make_rows(100, seed=3)
    right = (judge.probabilities([row["text"] for row in rows]) > 0.5) == [row["label"] == "pos" for row in rows]
    assert right.mean() > 0.98


def test_the_vocabulary_limits_are_obeyed() -> None:
    rows = make_rows(60, seed=4)
    assert len(fit_gold_judge(rows, GoldSettings(maximum_terms=12)).terms) == 12
    often = fit_gold_judge(rows, GoldSettings(minimum_documents=20)).terms
    documents = [set(terms_of(row["text"])) for row in rows]
    assert often and all(sum(term in document for document in documents) >= 20 for term in often)


def test_what_is_saved_scores_the_same(judge: GoldJudge, tmp_path: Path) -> None:
    judge.save(tmp_path / "gold")
    texts = [row["text"] for row in make_rows(20, seed=5)]
    assert np.array_equal(GoldJudge.load(tmp_path / "gold").probabilities(texts), judge.probabilities(texts))


@pytest.mark.parametrize("damage", ["terms.txt", "weights.npz", "judge.json", "fewer terms", "pickle"])
def test_a_damaged_judge_is_refused(judge: GoldJudge, tmp_path: Path, damage: str) -> None:
    judge.save(tmp_path)
    if damage == "fewer terms":
        (tmp_path / "terms.txt").write_text("one\ntwo", encoding="utf-8")
    elif damage == "pickle":
        arrays = np.array([{}], dtype=object)
        np.savez(tmp_path / "weights.npz", coefficients=arrays, inverse_document_frequency=arrays)
    else:
        (tmp_path / damage).unlink()
    with pytest.raises(DataError, match="fits it again"):
        GoldJudge.load(tmp_path)


@pytest.mark.parametrize("rows", [[], [{"text": "fine film", "label": "pos"}] * 5])
def test_one_label_is_not_enough(rows: list[dict[str, str]]) -> None:
    with pytest.raises(DataError, match="both labels"):
        fit_gold_judge(rows)


def test_too_few_repeated_terms_are_an_error() -> None:
    rows = [{"text": f"word{number} other{number}", "label": ("neg", "pos")[number % 2]} for number in range(6)]
    with pytest.raises(DataError, match="no term in 3 reviews"):
        fit_gold_judge(rows)


@pytest.mark.parametrize(
    ("text", "balance"),
    [
        ("A Wonderful, moving film", 1),
        ("wonderful and brilliant but boring", 1),
        ("not a good film", -1),
        ("It isn\u2019t bad", 1),
        ("nobody says it is not that very good", -1),
        ("not that anyone thinks it good", 1),
        ("never boring, always good", 2),
        ("the camera stands on a table", 0),
    ],
)
def test_lexicon_balance(text: str, balance: int) -> None:
    lexicon = OpinionLexicon(frozenset({"wonderful", "brilliant", "good"}), frozenset({"boring", "bad"}))
    assert lexicon.balance(text) == balance


def test_the_shipped_lexicon_is_whole_and_its_origin_is_named() -> None:
    lexicon = OpinionLexicon.load()
    assert (len(lexicon.positive), len(lexicon.negative)) == (2006, 4783)
    assert lexicon.opinions(["a superb film", "an awful film", "a film"]).tolist() == [1.0, 0.0, 0.5]
    import tuningfork.data

    notice = Path(tuningfork.data.__path__[0], "opinion", "NOTICE").read_text(encoding="utf-8")
    assert "Bing Liu" in notice and "Attribution 4.0" in notice


def test_a_lexicon_folder_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "positive-words.txt").write_text("fab\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"negative-words\.txt: no such"):
        OpinionLexicon.load(tmp_path)
    (tmp_path / "negative-words.txt").write_text("\n", encoding="utf-8")
    with pytest.raises(DataError, match="holds no words"):
        OpinionLexicon.load(tmp_path)
    (tmp_path / "negative-words.txt").write_bytes(b"na\xefve\n")
    with pytest.raises(DataError, match="not UTF-8 at byte 3"):
        OpinionLexicon.load(tmp_path)
    (tmp_path / "negative-words.txt").write_text("meh\n", encoding="utf-8")
    assert OpinionLexicon.load(tmp_path).balance("fab fab meh") == 1


def test_agreement_worked_by_hand() -> None:
    first, second = np.array([0.9, 0.8, 0.2, 0.1, 0.5]), np.array([0.7, 0.3, 0.4, 0.2, 0.9])
    # decided: 4 texts, 3 agree; chance = .5 * .25 + .5 * .75 = .5; kappa = (.75 - .5) / (1 - .5)
    assert agreement(first, second) == Agreement(0.75, 0.5, 4)
    assert math.isnan(agreement(np.array([0.9]), np.array([0.8])).kappa)
    assert agreement(np.array([0.5]), np.array([0.8])).n == 0
    with pytest.raises(DataError, match="same texts"):
        agreement(first, second[:2])


def test_the_saved_head_is_plain_json(judge: GoldJudge, tmp_path: Path) -> None:
    judge.save(tmp_path)
    assert json.loads((tmp_path / "judge.json").read_text(encoding="utf-8"))["version"] == 1
