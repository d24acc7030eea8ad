"""summary.json: round trip, refusals, and the combination of seeds."""

import json

import pytest

from tuningfork.errors import RunError
from tuningfork.evals.combine import combine
from tuningfork.evals.statistics import Comparison
from tuningfork.evals.summary import (
    GateRecord,
    LedgerEntry,
    Limit,
    Measure,
    Regression,
    Summary,
    measure,
    point_measure,
    read_summary,
    write_summary,
)


def comparison(difference: float, p: float = 0.01, half: float = 0.1) -> Comparison:
    interval = (difference - half, difference + 2 * half)
    return Comparison(
        0.2, 0.2 + difference, difference, interval, p=p, n=60, num_roots=20, effect_size=1.0, sd=difference
    )


def of_seed(seed: int, difference: float, p: float = 0.01) -> Summary:
    return Summary(
        measures=[
            measure("share", comparison(difference, p), role="headline", direction="higher", seed=seed),
            point_measure(
                "perplexity",
                20.0,
                20.0 + seed,
                role="guard",
                direction="lower",
                seed=seed,
                limit=Limit(on="ratio", maximum=1.1),
            ),
        ],
        seeds=[seed],
        seconds=100.0 + seed,
        peak_memory_mb=500.0 + seed,
        kl_per_sequence=3.0 + seed,
        gates=[GateRecord(stage="sft", name="stops", passed=True, message="all end")],
        ledger=[LedgerEntry(stage="sft", probe="facts", value=0.9 + seed / 100)],
        regressions=[Regression(prompt="p", before="a", after="b")],
    )


def test_round_trip(tmp_path):
    summary = of_seed(0, 0.5)
    write_summary(summary, tmp_path / "summary.json")
    assert read_summary(tmp_path / "summary.json") == summary
    assert json.loads((tmp_path / "summary.json").read_text())["version"] == 1


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"version": 99}', '{"version": 1, "verdict": "great"}', '{"version": 1, "x": 1}']
)
def test_what_is_no_summary_is_refused(tmp_path, text):
    path = tmp_path / "summary.json"
    path.write_text(text)
    with pytest.raises(RunError, match="summary"):
        read_summary(path)


def test_a_guard_without_a_limit_is_refused():
    with pytest.raises(ValueError, match="a guard needs a limit"):
        Measure(name="x", role="guard", direction="higher", before=1, after=1)
    with pytest.raises(ValueError, match="minimum or a maximum"):
        Limit()


def test_limits_in_words():
    assert str(Limit(minimum=0.95)) == "at least 0.95"
    assert str(Limit(on="ratio", maximum=1.1)) == "at most 1.1 × before"
    assert str(Limit(on="ratio", minimum=0.8, maximum=1.2)) == "0.8 to 1.2 × before"


def test_seeds_are_combined():
    both = combine([of_seed(0, 0.3, p=0.01), of_seed(2, 0.5, p=0.03)])
    share, perplexity = both.measures
    assert both.seeds == [0, 2]
    assert (share.difference, share.n, share.num_roots) == (pytest.approx(0.4), 120, 20)
    assert share.ci95 == pytest.approx((0.3, 0.6))  # means of the lower and of the upper ends
    assert share.p == pytest.approx(0.04)  # twice the mean
    assert share.seed_spread == pytest.approx(0.1414, abs=1e-4)
    assert [value.difference for value in perplexity.per_seed] == [0.0, 2.0]
    assert (both.seconds, both.peak_memory_mb, both.kl_per_sequence) == (101.0, 502.0, 4.0)
    assert [gate.seed for gate in both.gates] == [0, 2]
    assert both.ledger[0].value == pytest.approx(0.91)
    assert both.num_regressions == 2


def test_a_value_missing_in_one_seed_is_missing_in_the_mean():
    lost = of_seed(1, 0.5)
    broken = lost.measures[1].model_copy(update={"after": None, "difference": None})
    both = combine([of_seed(0, 0.3), lost.model_copy(update={"measures": [lost.measures[0], broken]})])
    assert both.measures[1].after is None


def test_one_seed_stays_as_it_is_and_unlike_seeds_are_refused():
    one = of_seed(0, 0.3)
    assert combine([one]) == one
    with pytest.raises(RunError, match="measured differently"):
        combine([one, one.model_copy(update={"measures": one.measures[:1]})])
    with pytest.raises(RunError, match="no summary"):
        combine([])


def test_a_seed_that_a_gate_stopped_has_only_its_gates():
    gate = GateRecord(stage="reward", name="contrast", passed=False, message="no")
    stopped = Summary(seeds=[7], gates=[gate], seconds=50.0)
    both = combine([stopped, of_seed(0, 0.3), of_seed(1, 0.5)])
    assert [value.seed for value in both.measures[0].per_seed] == [0, 1]
    assert both.seeds == [7, 0, 1] and [gate.seed for gate in both.gates if not gate.passed] == [7]
    assert both.kl_per_sequence == 3.5
    assert combine([stopped, stopped]).measures == []
