"""Coefficients of agreement against published worked examples, hand arithmetic and independent scalar versions."""

import itertools
import math

import numpy as np
import pytest

from tuningfork.evals import agreement_statistics as ag
from tuningfork.randomness import numpy_generator

# The worked example of 10 subjects and 14 raters that is reprinted with Fleiss's kappa (Wikipedia, "Fleiss' kappa").
TEN_BY_FIVE = [
    [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
    [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
]  # fmt: skip
# Fleiss 1971, table 1: 30 patients, 6 psychiatrists each, 5 diagnoses.
PATIENTS = [
    "00060", "03003", "01401", "00006", "03030", "20400", "00402", "20310", "20040", "00006",
    "10050", "11040", "03300", "10050", "02031", "00501", "30012", "51000", "02040", "10203",
    "00006", "01050", "02013", "20040", "10041", "05010", "40002", "02040", "10500", "00006",
]  # fmt: skip
# Krippendorff 2011, "Computing Krippendorff's alpha-reliability", example C: 4 observers, 12 units, some missing.
FOUR_OBSERVERS = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
    [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
]


LEVELS: tuple[ag.Level, ...] = ("nominal", "ordinal", "interval", "ratio")


def from_counts(table):
    """Ratings of each item, of how often each category was given."""
    return [[category for category, times in enumerate(row) for _ in range(times)] for row in table]


def from_table(table):
    """Both raters' ratings, of a cross table of counts (first rater in rows)."""
    cells = [(i, j) for i, row in enumerate(table) for j, times in enumerate(row) for _ in range(times)]
    return [i for i, _ in cells], [j for _, j in cells]


def random_items(seed, items=40, raters=4, categories=4, missing=0.3):
    draws = numpy_generator(seed, "items")
    truth = draws.integers(1, categories + 1, items)
    ratings = np.where(
        draws.random((items, raters)) < 0.6, truth[:, None], draws.integers(1, categories + 1, (items, raters))
    )
    gone = draws.random((items, raters)) < missing
    return [[None if g else int(r) for r, g in zip(*row, strict=True)] for row in zip(ratings, gone, strict=True)]


def scalar_alpha(items, level):
    """Alpha from Krippendorff's definition, pair by pair: mean squared distance within units over that of all pairs."""
    units = [[v for v in unit if v is not None] for unit in items]
    units = [unit for unit in units if len(unit) > 1]
    values = [v for unit in units for v in unit]

    def squared(a, b):
        if level == "ordinal":
            low, high = min(a, b), max(a, b)
            between = sum(low <= v <= high for v in values)
            return (between - (values.count(a) + values.count(b)) / 2) ** 2 if a != b else 0
        return {"nominal": float(a != b), "interval": (a - b) ** 2, "ratio": ((a - b) / (a + b)) ** 2}[level]

    n = len(values)
    within = sum(squared(a, b) / (len(unit) - 1) for unit in units for a, b in itertools.permutations(unit, 2)) / n
    overall = sum(squared(a, b) for a, b in itertools.permutations(values, 2)) / (n * (n - 1))
    return 1 - within / overall


def test_raw_agreement_by_hand():
    # three raters: a a b has 1 pair of 3, a a a 3 of 3, b a (one missing) 0 of 1: (1/3 + 1 + 0) / 3
    found = ag.raw_agreement([["a", "a", "b"], ["a", "a", "a"], ["b", "a", None], ["a", None, None]])
    assert found.value == pytest.approx(4 / 9)
    assert (found.num_items, found.num_ratings) == (3, 8)


def test_cohen_1960():
    # Cohen 1960, table 1, N = 200: diagonal .25 + .02 + .02 = .29; marginals .5 .3 .2 and .4 .3 .3, so
    # expected .20 + .09 + .06 = .35; kappa = (.29 - .35) / .65 = -.0923
    first, second = from_table([[50, 26, 24], [24, 4, 32], [6, 30, 4]])
    assert ag.cohens_kappa(first, second).value == pytest.approx(-0.06 / 0.65)


def test_cohen_1968_weighted():
    # Cohen 1968, table 1, N = 200: kappa (.70 - .41) / .59 = .492. Weights 1 (personality disorder, neurosis), 3 and 6
    # (psychosis): observed .07 + .27 + .05 + .30 + .03 + .18 = .90, expected .18 + .36 + .15 + .36 + .15 + .18 = 1.38
    first, second = from_table([[88, 14, 18], [10, 40, 10], [2, 6, 12]])
    assert ag.cohens_kappa(first, second).value == pytest.approx(0.29 / 0.59)
    weighted = ag.cohens_kappa(first, second, weights=[[0, 1, 3], [1, 0, 6], [3, 6, 0]]).value
    assert weighted == pytest.approx(1 - 0.90 / 1.38) and round(weighted, 3) == 0.348


def test_weighted_kappa_of_the_anxiety_data():
    # Data `anxiety` of R's irr (first two of its raters, levels 1 to 6): kappa2 gives .119, "equal" .189, "squared" .297
    first, second = [3,3,3,4,5,5,2,3,5,2,2,6,1,5,2,2,1,2,4,3], [3,6,4,6,2,4,2,4,3,3,2,3,3,3,2,2,1,3,3,4]  # fmt: skip
    found = {
        w: ag.cohens_kappa(first, second, weights=w, categories=range(1, 7)) for w in ("none", "linear", "quadratic")
    }
    assert [round(found[w].value, 3) for w in ("none", "linear", "quadratic")] == [0.119, 0.189, 0.297]
    # over the 20 items distances sum to 24 and their squares to 50; over all 400 pairs of ratings to 592 and 1422
    assert found["linear"].value == pytest.approx(1 - (24 / 20) / (592 / 400))
    assert found["quadratic"].value == pytest.approx(1 - (50 / 20) / (1422 / 400))


def test_quadratic_kappa_is_the_correlation_where_both_raters_have_the_same_marginals():
    first, second = [1, 1, 2, 2, 3, 3, 4, 4], [1, 2, 1, 3, 2, 4, 3, 4]  # Cohen 1968: weighted kappa equals r then
    assert ag.cohens_kappa(first, second, weights="quadratic").value == pytest.approx(np.corrcoef(first, second)[0, 1])


def test_fleiss_ten_by_five():
    # mean P_i = .378, categories .143 .200 .279 .150 .229: expected .213; (.378 - .213) / (1 - .213) = .210
    found = ag.fleiss_kappa(from_counts(TEN_BY_FIVE))
    assert found.value == pytest.approx(0.210, abs=5e-4)
    assert (found.num_items, found.num_ratings) == (10, 140)
    assert found.ci95 is not None and found.ci95[0] < 0.210 < found.ci95[1]


def test_fleiss_1971():
    # categories 26 26 30 55 43 of 180: expected .220; mean P_i .556; kappa .430
    items = from_counts([[int(digit) for digit in row] for row in PATIENTS])
    assert ag.raw_agreement(items).value == pytest.approx(5 / 9)
    expected = sum((c / 180) ** 2 for c in (26, 26, 30, 55, 43))
    kappa = ag.fleiss_kappa(items).value
    assert kappa == pytest.approx((5 / 9 - expected) / (1 - expected)) and round(kappa, 3) == 0.430


def test_krippendorff_2011_two_observers():
    # A. Binary, 10 units: n_0 = 14, n_1 = 6, o_01 = 4: 1 - (20 - 1) 4 / (14 * 6) = .095
    binary = list(zip("0100000010", "1110010000", strict=True))
    assert ag.krippendorff_alpha(binary).value == pytest.approx(1 - 19 * 4 / 84)
    # B. Nominal, 12 units: o_aa 2, o_bb 4, o_cc 6, o_dd 4, o_ee 2 sum to 18; n_a 4, n_b 6, n_c 6, n_d 6, n_e 2, so
    # sum n_c (n_c - 1) = 104; (23 * 18 - 104) / (24 * 23 - 104) = 310 / 448 = .692
    nominal = list(zip("aabbdcccedda", "babbbccceddd", strict=True))
    assert ag.krippendorff_alpha(nominal).value == pytest.approx(310 / 448)


@pytest.mark.parametrize(
    ("level", "published"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849), ("ratio", 0.797)]
)
def test_krippendorff_2011_four_observers(level, published):
    items = list(zip(*FOUR_OBSERVERS, strict=True))
    found = ag.krippendorff_alpha(items, level=level)
    assert round(found.value, 3) == published
    assert found.value == pytest.approx(scalar_alpha(items, level))
    assert (found.num_items, found.num_ratings) == (11, 40)  # unit 12 has one value, which cannot be paired


@pytest.mark.parametrize("level", LEVELS)
def test_alpha_equals_the_pairwise_definition(level):
    for seed in range(3):
        items = random_items(seed, items=25)
        found = ag.krippendorff_alpha(items, level=level, draws=10)
        assert found.value == pytest.approx(scalar_alpha(items, level))
        shuffled = [row[::-1] for row in items[::-1]] + [[3, None], [None]]  # who, in which order, and lone ratings
        assert ag.krippendorff_alpha(shuffled, level=level, draws=10).value == pytest.approx(found.value)


def test_alpha_is_fleiss_with_a_small_sample_correction():
    items = from_counts(TEN_BY_FIVE)
    kappa = ag.fleiss_kappa(items).value
    assert ag.krippendorff_alpha(items).value == pytest.approx(1 - (1 - kappa) * 139 / 140)


def test_alpha_keeps_under_the_changes_each_level_allows():
    items = random_items(3)
    changes = (lambda v: {1: "d", 2: "a", 3: "c", 4: "b"}[v], lambda v: v**3, lambda v: 2.5 * v - 7, lambda v: 2.5 * v)
    for level, change in zip(LEVELS, changes, strict=True):
        moved = [[None if v is None else change(v) for v in row] for row in items]
        plain = ag.krippendorff_alpha(items, level=level, draws=10).value
        assert ag.krippendorff_alpha(moved, level=level, draws=10).value == pytest.approx(plain), level


def test_named_categories_have_the_order_given():
    names = {1: "worse", 2: "tie", 3: "better"}
    numbers = [[1, 2], [2, 2], [3, 1], [3, 3], [1, 1], [2, 3]]
    items = [[names[v] for v in row] for row in numbers]
    order = ["worse", "tie", "better"]
    assert ag.krippendorff_alpha(items, level="ordinal", categories=order) == ag.krippendorff_alpha(
        numbers, level="ordinal"
    )
    first, second = zip(*items, strict=True)
    plain = ag.cohens_kappa(*zip(*numbers, strict=True), weights="linear")
    assert ag.cohens_kappa(first, second, weights="linear", categories=order) == plain
    with pytest.raises(ValueError, match="no category: tie"):
        ag.cohens_kappa(first, second, categories=["worse", "better"])


def test_intervals_cover_the_truth():
    # two raters say the truth (of 3) with chance .8, else any: they agree with chance 1/3 + 2/3 .64, kappa .64
    hits = {"alpha": 0, "cohen": 0, "raw": 0}
    for seed in range(120):
        draws = numpy_generator(seed, "coverage")
        truth = draws.integers(3, size=150)
        pair = [np.where(draws.random(150) < 0.8, truth, draws.integers(3, size=150)) for _ in range(2)]
        items = list(zip(*(p.tolist() for p in pair), strict=True))
        for name, found, true in (
            ("alpha", ag.krippendorff_alpha(items, seed=seed, draws=300), 0.64),
            ("cohen", ag.cohens_kappa(*zip(*items, strict=True), seed=seed, draws=300), 0.64),
            ("raw", ag.raw_agreement(items, seed=seed, draws=300), 1 / 3 + 2 / 3 * 0.64),
        ):
            assert found.ci95 is not None
            hits[name] += found.ci95[0] <= true <= found.ci95[1]
    assert all(0.90 <= count / 120 <= 0.99 for count in hits.values()), hits


def test_an_interval_over_the_distinct_items_is_that_over_all_items():
    items = random_items(1, items=60, raters=2, missing=0)
    found = ag.krippendorff_alpha(items, level="interval", draws=4000)
    draws = numpy_generator(0, "independent")
    picks = draws.integers(60, size=(1000, 60))
    resampled = [ag.krippendorff_alpha([items[i] for i in row], level="interval", draws=1).value for row in picks]
    assert found.ci95 == pytest.approx(np.quantile(resampled, [0.025, 0.975]), abs=0.04)


def test_undefined_is_nan_with_a_reason():
    same = ag.krippendorff_alpha([["a", "a"]] * 10)
    assert math.isnan(same.value) and same.ci95 is None and "one category" in same.reason
    assert math.isnan(ag.cohens_kappa(["a"] * 8, ["a"] * 8).value)
    assert math.isnan(ag.fleiss_kappa([[1, 1, 1]] * 8).value)
    empty = ag.raw_agreement([["a"], [None, "b"], []])
    assert math.isnan(empty.value) and empty.reason == "no item has two ratings"
    assert math.isnan(ag.cohens_kappa([], []).value)
    uneven = ag.fleiss_kappa([[1, 1, 2], [1, 2]])
    assert math.isnan(uneven.value) and "2 to 3 ratings" in uneven.reason


def test_no_interval_where_items_cannot_tell():
    few = ag.raw_agreement([[1, 1], [1, 2], [2, 2]])
    assert few.value == pytest.approx(2 / 3) and few.ci95 is None and "fewer than 6" in few.reason
    perfect = ag.krippendorff_alpha([[1, 1], [2, 2]] * 10)
    assert perfect.value == 1.0 and perfect.ci95 is None and perfect.reason
    skewed = ag.cohens_kappa([0] * 29 + [1], [0] * 30)  # a third of the resamples has no 1 at all
    assert skewed.value == 0.0 and skewed.ci95 is None and "nearly all" in skewed.reason


def test_missing_ratings_and_wrong_ones():
    assert ag.cohens_kappa([1, 2, None, 1], [1, math.nan, 2, 2]).num_items == 2
    with pytest.raises(ValueError, match="as many"):
        ag.cohens_kappa([1], [1, 2])
    with pytest.raises(ValueError, match="0 or more"):
        ag.krippendorff_alpha([[-1, 2], [1, 1]], level="ratio")
    with pytest.raises(ValueError, match="needs numbers"):
        ag.krippendorff_alpha([["a", "b"]], level="interval")
    with pytest.raises(ValueError, match="2 x 2"):
        ag.cohens_kappa([1, 2], [2, 1], weights=[[0, 1, 2]])


def test_hundred_thousand_items_are_quick():
    draws = numpy_generator(0, "many")
    items = draws.integers(3, size=(100_000, 2)).tolist()
    found = ag.krippendorff_alpha(items)
    assert found.ci95 is not None and found.ci95[1] - found.ci95[0] < 0.02 and found.num_items == 100_000
