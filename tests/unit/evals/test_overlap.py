"""BLEU and ROUGE against the worked examples of the papers that define them, and against hand-made cases."""

from __future__ import annotations

import math

import pytest

from tuningfork.evals.overlap import corpus_bleu, rouge, rouge_l, rouge_lsum, rouge_n, sentence_bleu

# Papineni et al. 2002, "BLEU: a Method for Automatic Evaluation of Machine Translation", examples 1 and 2, section 2.1.
CANDIDATE_1 = "It is a guide to action which ensures that the military always obeys the commands of the party"
CANDIDATE_2 = "It is to insure the troops forever hearing the activity guidebook that party direct"
REFERENCES = [
    "It is a guide to action that ensures that the military will forever heed Party commands",
    "It is the guiding principle which guarantees the military forces always being under the command of the Party",
    "It is the practical guide for the army always to heed the directions of the party",
]


def precisions(text: str, references: list[str]) -> tuple[float, ...]:
    return corpus_bleu([text], [references], lowercase=True).precisions


def test_bleu_of_the_papers_first_example() -> None:
    # section 2.1: modified unigram precision 17/18 and 8/14; section 2.1.1: modified bigram precision 10/17 and 1/13
    assert precisions(CANDIDATE_1, REFERENCES)[:2] == pytest.approx((17 / 18, 10 / 17))
    assert precisions(CANDIDATE_2, REFERENCES)[:2] == pytest.approx((8 / 14, 1 / 13))


def test_bleu_of_the_papers_second_example_clips_counts() -> None:
    # "the the the the the the the": modified unigram precision 2/7
    found = precisions("the the the the the the the", ["The cat is on the mat", "There is a cat on the mat"])
    assert found[0] == pytest.approx(2 / 7)


def test_bleu_of_a_short_text_by_hand() -> None:
    # "a b c" against "a b d e": 2 of 3 words, with one added (1 + 1) / (2 + 1) pairs and (0 + 1) / (1 + 1) triples; no run
    # of four, so the mean is over three. The penalty is exp(1 - 4 / 3).
    found = sentence_bleu("a b c", ["a b d e"])
    assert found.precisions[:3] == pytest.approx((2 / 3, 2 / 3, 1 / 2))
    assert found.brevity_penalty == pytest.approx(math.exp(-1 / 3))


def test_bleu_takes_the_closest_length_the_shorter_on_ties() -> None:
    text = "a b c d e"
    assert sentence_bleu(text, ["a b c d", "a b c d e f"]).brevity_penalty == 1.0, "4 and 6 are as close; 4 counts"
    assert sentence_bleu(text, ["a b c d e f", "a b"]).brevity_penalty == pytest.approx(math.exp(1 - 6 / 5))


def test_bleu_of_a_corpus_is_no_mean_of_sentences() -> None:
    texts, references = ["a b c d e f g h", "x"], [["a b c d e f g h"], ["y"]]
    # all runs of the first text match; of the second one its single word does not: 8/9, 7/7, 6/6, 5/5
    assert corpus_bleu(texts, references).score == pytest.approx((8 / 9) ** 0.25)
    assert corpus_bleu(["a b c d", "x y z w"], [["a b c d"], ["x y z w", "other words"]]).score == pytest.approx(1.0)


@pytest.mark.parametrize("kind", ["rouge_1", "rouge_2", "rouge_l", "rouge_lsum"])
def test_what_is_equal_has_1_and_what_is_disjoint_or_empty_0(kind: str) -> None:
    assert rouge(kind, "The cat sat.", ["the cat sat"]).f1 == 1.0  # type: ignore[arg-type]
    assert rouge(kind, "a dog ran", ["the cat sat"]).f1 == 0.0  # type: ignore[arg-type]
    assert rouge(kind, "", ["the cat sat"]).f1 == rouge(kind, "cat", [""]).f1 == 0.0  # type: ignore[arg-type]


def test_rouge_counts_are_clipped() -> None:
    found = rouge_n(1, "the the the", "the cat")
    assert (found.precision, found.recall) == (1 / 3, 1 / 2) and found.f1 == pytest.approx(0.4)


def test_rouge_of_the_papers_examples() -> None:
    # Lin 2004, section 3.1: S1 is the reference; S2 has ROUGE-L 3/4, S3 and S4 2/4; in ROUGE-2 S2 and S3 are alike, S4 is better.
    reference = "police killed the gunman"
    second, third, fourth = "police kill the gunman", "the gunman kill police", "the gunman police killed"
    assert [rouge_l(text, reference).f1 for text in (second, third, fourth)] == [0.75, 0.5, 0.5]
    assert rouge_n(2, second, reference) == rouge_n(2, third, reference)
    assert rouge_n(2, fourth, reference).f1 == pytest.approx(2 / 3)
    assert rouge_n(2, third, reference).f1 == pytest.approx(1 / 3)


def test_rouge_lsum_of_the_papers_example_is_the_union() -> None:
    # Lin 2004, section 3.2: reference w1 w2 w3 w4 w5, candidates w1 w2 w6 w7 w8 and w1 w3 w8 w9 w5: the union has 4 of 5
    found = rouge_lsum("w1 w2 w6 w7 w8\nw1 w3 w8 w9 w5", "w1 w2 w3 w4 w5")
    assert found.recall == 4 / 5 and found.precision == 4 / 10
    assert rouge_l("w1 w2 w6 w7 w8\nw1 w3 w8 w9 w5", "w1 w2 w3 w4 w5").recall == 4 / 5  # w1 w2 w3 w5, across the lines


def test_rouge_lsum_knows_lines_and_uses_a_word_once() -> None:
    assert rouge_lsum("b c\na", "a\nb c").f1 == 1.0 > rouge_l("b c\na", "a\nb c").f1
    assert rouge_lsum("a", "a\na").recall == 0.5


def test_the_most_similar_reference_counts() -> None:
    assert rouge("rouge_1", "a b", ["x y", "a b", "a"]).f1 == 1.0
