"""Statistics against hand-worked numbers, independent versions and coverage."""

import itertools
import math

import numpy as np
import pytest

from tuningfork.evals import statistics as st
from tuningfork.randomness import numpy_generator


def clustered(seed: int, roots: int = 60, rows: int = 6, shift: float = 0.0, spread: float = 0.2):
    """Binary rows before and after; every root has its own share and its own random change, mean change `shift`."""
    draws = numpy_generator(seed, "clustered")
    base = draws.uniform(0.3, 0.7, roots)
    moved = np.clip(base + shift + draws.choice([-spread, spread], roots), 0, 1)
    before = draws.random((roots, rows)) < base[:, None]
    after = draws.random((roots, rows)) < moved[:, None]
    return before.ravel().astype(float), after.ravel().astype(float), np.repeat(np.arange(roots), rows)


def test_comparison_by_hand():
    # roots a: differences 1, 0; b: 1; c: 0; d: 1; e: -1, 1; f: 1. Row mean = 4/8. Root means .5, 1, 0, 1, 0, 1.
    before, after = [0, 1, 0, 0, 0, 1, 0, 0], [1, 1, 1, 0, 1, 0, 1, 1]
    result = st.paired_comparison(before, after, list("aabcdeef"), seed=0)
    assert (result.before, result.after, result.difference) == (0.25, 0.75, 0.5)
    assert (result.n, result.num_roots) == (8, 6)
    # sums 1, 1, 0, 1, 0, 1: |sum| = 4 needs all four signs alike: 2 of 16
    assert result.p == pytest.approx(2 / 16)
    means = [0.5, 1, 0, 1, 0, 1]
    sd = math.sqrt(sum((m - 3.5 / 6) ** 2 for m in means) / 5)
    assert result.sd == pytest.approx(sd)
    assert result.effect_size == pytest.approx(3.5 / 6 / sd)
    assert result.ci95 is not None and result.ci95[0] < 0.5 < result.ci95[1]


def test_few_roots_give_no_interval():
    result = st.paired_comparison([0] * 10, [1] * 10, list("aabbccddee"), seed=0)
    assert result.ci95 is None and result.p == pytest.approx(2 / 2**5) and result.effect_size is None


def test_rows_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="as many"):
        st.paired_comparison([0, 1], [1], ["a", "b"], seed=0)
    with pytest.raises(ValueError, match="finite"):
        st.paired_comparison([0.0, 1.0], [1.0, math.nan], ["a", "b"], seed=0)


def test_comparison_depends_on_the_seed_alone_and_not_on_row_order():
    before, after, roots = clustered(3)
    same = [st.paired_comparison(before, after, roots.tolist(), seed=5, draws=500) for _ in range(2)]
    assert same[0] == same[1]
    assert same[0] != st.paired_comparison(before, after, roots.tolist(), seed=6, draws=500)


def test_bootstrap_matches_the_normal_interval_of_a_mean():
    values = numpy_generator(0, "normal").normal(1.0, 2.0, 400)
    low, high = st.bootstrap_interval(values, list(range(400)), seed=1)
    half = 1.96 * values.std() / 20
    assert low == pytest.approx(values.mean() - half, abs=0.02)
    assert high == pytest.approx(values.mean() + half, abs=0.02)


def test_bootstrap_in_chunks_is_a_resampling_of_roots(monkeypatch):
    before, after, roots = clustered(0)
    whole = st.bootstrap_interval(after - before, roots.tolist(), seed=1, draws=400)
    monkeypatch.setattr(st, "_CHUNK", 600)
    assert st.bootstrap_interval(after - before, roots.tolist(), seed=1, draws=400) == whole


def test_interval_covers_the_truth_by_root_and_not_by_row():
    truth, runs, hits = 0.1, 150, {"root": 0, "row": 0}
    for seed in range(runs):
        before, after, roots = clustered(seed, roots=60, rows=12, shift=truth, spread=0.2)
        for unit, labels in (("root", roots.tolist()), ("row", list(range(len(roots))))):
            low, high = st.bootstrap_interval(after - before, labels, seed=seed, draws=600)
            hits[unit] += low <= truth <= high
    assert 0.90 <= hits["root"] / runs <= 0.99
    assert hits["row"] / runs < 0.90  # the rows of a root are not independent: this is what the roots are for


def test_bca_leans_against_skew():
    values = numpy_generator(2, "skew").lognormal(0, 1.2, 60)
    plain = st.bootstrap_interval(values, list(range(60)), seed=0)
    bca = st.bootstrap_interval(values, list(range(60)), seed=0, method="bca")
    assert bca[0] > plain[0] and bca[1] > plain[1]


def test_bca_agrees_with_scipy():
    scipy_stats = pytest.importorskip("scipy.stats")
    values = numpy_generator(4, "skew").exponential(1.0, 50)
    ours = st.bootstrap_interval(values, list(range(50)), seed=0, method="bca", draws=50_000)
    plain = st.bootstrap_interval(values, list(range(50)), seed=0, draws=50_000)
    theirs = scipy_stats.bootstrap((values,), np.mean, n_resamples=50_000, method="BCa", rng=np.random.default_rng(1))
    assert ours == pytest.approx(tuple(theirs.confidence_interval), abs=0.015)
    assert plain != pytest.approx(tuple(theirs.confidence_interval), abs=0.015)


def test_bca_without_variation_keeps_its_width_of_zero():
    assert st.bootstrap_interval([0.5] * 8, list(range(8)), seed=0, method="bca") == (0.5, 0.5)


def test_sign_flip_is_exact_up_to_twenty_roots():
    values = [0.3, -0.1, 0.5, 0.2, 0.4, -0.2, 0.1]
    observed = abs(sum(values))
    flips = itertools.product((-1, 1), repeat=len(values))
    hits = sum(abs(sum(s * v for s, v in zip(signs, values, strict=True))) >= observed - 1e-12 for signs in flips)
    assert st.sign_flip_test(values, list(range(7)), seed=0) == pytest.approx(hits / 2**7)


def test_sampled_sign_flip_agrees_with_the_exact_one(monkeypatch):
    values = numpy_generator(1, "flip").normal(0.35, 1.0, 18)
    exact = st.sign_flip_test(values, list(range(18)), seed=0)
    monkeypatch.setattr(st, "EXACT_ROOTS", 5)
    assert st.sign_flip_test(values, list(range(18)), seed=0, draws=20_000) == pytest.approx(exact, abs=0.01)


def test_sign_flip_of_no_change_is_one():
    assert st.sign_flip_test([0.0] * 10, list(range(10)), seed=0) == 1.0
    assert st.sign_flip_test([0.0] * 40, list(range(40)), seed=0, draws=100) == 1.0


def test_wilson():
    # 8 of 10, z = 1.96: centre (.8 + .19207) / 1.38415, half 1.96 sqrt(.016 + .0096) / 1.38415
    assert st.wilson_interval(8, 10) == pytest.approx((0.4902, 0.9433), abs=2e-4)
    low, high = st.wilson_interval(0, 20)
    assert low == 0 and 0.15 < high < 0.17
    with pytest.raises(ValueError):
        st.wilson_interval(3, 2)


def test_mcnemar():
    assert st.mcnemar(0, 0) == 1.0
    assert st.mcnemar(5, 1) == pytest.approx(2 * (1 + 6) / 64)
    assert st.mcnemar(3, 3) == 1.0
    assert st.mcnemar(40, 20) == pytest.approx(math.erfc(math.sqrt(19**2 / 60 / 2)))
    assert st.mcnemar(20, 40) == st.mcnemar(40, 20)


def test_effect_sizes():
    assert st.cohens_d_z([1, 2, 3]) == pytest.approx(2.0)
    assert st.cohens_d_z([1, 1, 1]) is None
    assert st.hedges_correction(8) == pytest.approx(1 - 3 / 31)
    # means 2 and 4, both sd 1, df 4
    assert st.hedges_g([1, 2, 3], [3, 4, 5]) == pytest.approx(2 * (1 - 3 / 15))
    assert st.cliffs_delta([1, 2, 3], [3, 4, 5]) == pytest.approx((8 - 0) / 9)
    assert st.cliffs_delta([3, 4, 5], [1, 2, 3]) == pytest.approx(-8 / 9)


def test_holm_and_benjamini_hochberg():
    assert st.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert st.benjamini_hochberg([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.04, 0.04])
    assert st.holm([0.5, 0.9]) == [1.0, 1.0]
    assert st.holm([]) == st.benjamini_hochberg([]) == []


def test_least_kl_of_a_choice():
    assert st.binary_kl(0.945, 0.087) == pytest.approx(
        0.945 * math.log(0.945 / 0.087) + 0.055 * math.log(0.055 / 0.913)
    )
    assert st.binary_kl(0.3, 0.3) == 0.0
    assert st.binary_kl(1.0, 0.5) == pytest.approx(math.log(2))
    assert st.binary_kl(0.1, 0.0) == math.inf
