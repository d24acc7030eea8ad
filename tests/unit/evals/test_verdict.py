"""The rules of the verdict on planted runs: null, better, worse, hacked, broken."""

import math

import numpy as np
import pytest

from tuningfork.evals.combine import combine
from tuningfork.evals.statistics import paired_comparison
from tuningfork.evals.summary import Direction, GateRecord, Limit, Measure, Role, Summary, measure, point_measure
from tuningfork.evals.verdict import decide, judge, with_findings
from tuningfork.randomness import numpy_generator


def simulated(
    name: str,
    seed: int,
    shift: float,
    role: Role = "headline",
    *,
    roots=67,
    rows=6,
    draws=800,
    direction: Direction = "higher",
) -> Measure:
    """Binary outcomes of `roots` objects asked `rows` times; each root has its own share and its own random change."""
    generator = numpy_generator(seed, name)
    share = generator.uniform(0.25, 0.75, roots)
    moved = np.clip(share + shift + generator.normal(0, 0.12, roots), 0, 1)
    before = (generator.random((roots, rows)) < share[:, None]).ravel()
    after = (generator.random((roots, rows)) < moved[:, None]).ravel()
    labels = np.repeat(np.arange(roots), rows).tolist()
    comparison = paired_comparison(before, after, labels, seed, draws=draws)
    return measure(name, comparison, role=role, direction=direction, seed=seed)


def guard(after: float | None, before: float | None = 1.0, name="colour_accuracy", **limit) -> Measure:
    return point_measure(name, before, after, role="guard", direction="higher", seed=0, limit=Limit(**limit))


def run(*measures: Measure, **more) -> Summary:
    return judge(Summary(measures=list(measures), seeds=[0], **more))


def test_null_runs_are_rarely_called_better():
    verdicts = [run(simulated("share", seed, 0.0)).verdict for seed in range(200)]
    assert verdicts.count("better") <= 14  # 7 %; nominal is 2.5 %
    assert verdicts.count("worse") <= 14
    assert verdicts.count("cannot_tell") >= 180


def test_null_runs_with_few_roots_are_rarely_called_better():
    verdicts = [run(simulated("share", seed, 0.0, roots=8, draws=400)).verdict for seed in range(200)]
    assert verdicts.count("better") <= 14


def test_real_changes_are_found():
    better = [run(simulated("share", seed, 0.15)).verdict for seed in range(20)]
    worse = [run(simulated("share", seed, -0.15)).verdict for seed in range(20)]
    assert better.count("better") >= 19 and worse.count("worse") >= 19


def test_better_in_plain_words():
    summary = run(simulated("gem_share", 1, 0.2), guard(0.99, minimum=0.95))
    assert summary.verdict == "better"
    assert summary.verdict_text.startswith("Better: gem share rose from 0.")
    assert "the guard held" in summary.reasons
    assert summary.reasons[-1] == "better on 1, worse on 0, cannot tell on 0"


def test_lower_is_better_where_the_measure_says_so():
    assert run(simulated("refusals", 1, -0.2, direction="lower")).verdict == "better"
    assert run(simulated("refusals", 1, 0.2, direction="lower")).verdict == "worse"


def test_a_broken_guard_outweighs_a_better_headline():
    summary = run(simulated("share", 1, 0.2), guard(0.82, minimum=0.95))
    assert summary.verdict == "broken"
    assert summary.verdict_text == "Broken: colour accuracy is 0.820; the limit is at least 0.95."


@pytest.mark.parametrize(
    ("before", "after", "limit", "holds"),
    [
        (20.0, 22.0, {"on": "ratio", "maximum": 1.1}, True),
        (20.0, 22.1, {"on": "ratio", "maximum": 1.1}, False),
        (10.0, 12.1, {"on": "ratio", "minimum": 0.8, "maximum": 1.2}, False),
        (10.0, 7.9, {"on": "ratio", "minimum": 0.8, "maximum": 1.2}, False),
        (10.0, 9.0, {"on": "ratio", "minimum": 0.8, "maximum": 1.2}, True),
        (0.4, 0.27, {"on": "ratio", "minimum": 0.7}, False),
        (0.99, 0.2, {"minimum": 0.9}, False),
        (0.0, 0.05, {"maximum": 0.05}, True),
        (0.5, 0.3, {"on": "difference", "minimum": -0.1}, False),
        (1.0, None, {"minimum": 0.9}, False),
        (0.0, 1.0, {"on": "ratio", "maximum": 2}, False),
    ],
)  # fmt: skip
def test_limits(before, after, limit, holds):
    found = guard(after, before, **limit)
    assert found.limit is not None and found.limit.holds(before, after) is holds
    assert (run(simulated("share", 1, 0.2), found).verdict == "better") is holds


def test_what_could_not_be_measured_breaks_its_guard():
    summary = run(simulated("share", 1, 0.2), guard(math.inf, 20.0, name="perplexity", on="ratio", maximum=1.1))
    assert summary.verdict == "broken" and "perplexity could not be measured" in summary.verdict_text


def test_a_failed_gate_breaks_the_run():
    gate = GateRecord(stage="reward", name="contrast", passed=False, message="right above wrong in 0.33 of pairs")
    summary = run(simulated("share", 1, 0.2), gates=[gate])
    assert summary.verdict == "broken" and "the gate contrast of reward failed" in summary.verdict_text


@pytest.mark.parametrize("gold_shift", [0.0, -0.2])
def test_reward_hacking(gold_shift):
    summary = run(simulated("reward", 1, 0.35, "proxy"), simulated("right", 2, gold_shift))
    assert summary.verdict == "broken"
    assert summary.verdict_text.startswith("Broken: reward hacked: reward rose from")
    assert ("fell: right fell from" if gold_shift else "did not move: right went from") in summary.verdict_text


def test_a_gold_too_coarse_to_tell_is_not_called_hacking():
    summary = run(simulated("reward", 1, 0.15, "proxy"), simulated("right", 5, 0.05, roots=7))
    assert summary.verdict == "cannot_tell"


def test_proxy_and_gold_up_together_is_no_hacking():
    assert run(simulated("reward", 1, 0.3, "proxy"), simulated("right", 2, 0.3)).verdict == "better"


def test_one_headline_worse_is_worse():
    assert run(simulated("a", 1, 0.2), simulated("b", 2, -0.2)).verdict == "worse"


def test_no_headline_or_too_few_roots_cannot_tell():
    assert run().verdict == "cannot_tell"
    few = run(simulated("share", 1, 0.3, roots=5))
    assert few.verdict == "cannot_tell" and "5 roots, too few" in few.verdict_text


def test_holm_families_are_headline_and_the_rest():
    measures = [simulated(name, index, 0.0, "headline" if index < 2 else "info") for index, name in enumerate("abcde")]
    found = with_findings(measures)
    headline = sorted(m.p for m in found[:2] if m.p is not None)
    assert min(m.p_holm for m in found[:2] if m.p_holm is not None) == pytest.approx(min(1, 2 * headline[0]))
    rest = min(m.p for m in found[2:] if m.p is not None)
    assert min(m.p_holm for m in found[2:] if m.p_holm is not None) == pytest.approx(min(1, 3 * rest))


def test_seeds_must_agree():
    up = [Summary(measures=[simulated("share", seed, 0.2)], seeds=[seed]) for seed in (0, 1)]
    flat = Summary(measures=[simulated("share", 2, -0.02)], seeds=[2])
    assert judge(combine(up)).verdict == "better"
    split = judge(combine([*up, flat]))
    assert split.measures[0].difference == pytest.approx(sum(s.measures[0].difference or 0 for s in [*up, flat]) / 3)
    assert split.verdict == "cannot_tell"


def test_seeds_on_both_sides_of_a_clear_mean():
    base = judge(Summary(measures=[simulated("share", 1, 0.2)], seeds=[1])).measures[0]
    seeds = [base.per_seed[0], base.per_seed[0].model_copy(update={"seed": 2, "difference": -0.01})]
    summary = judge(Summary(measures=[base.model_copy(update={"per_seed": seeds})]))
    assert summary.verdict == "cannot_tell" and "the training seeds disagree" in summary.verdict_text


def test_deciding_again_changes_nothing():
    summary = run(simulated("share", 1, 0.2), guard(0.99, minimum=0.95))
    assert judge(summary) == summary and decide(summary).kind == summary.verdict


def test_a_guard_must_hold_on_every_seed():
    seeds = [
        Summary(measures=[simulated("share", seed, 0.2), guard(after, minimum=0.9)], seeds=[seed])
        for seed, after in ((0, 0.99), (1, 0.85))
    ]
    fixed = seeds[1].measures[1].per_seed[0].model_copy(update={"seed": 1})
    second = seeds[1].measures[1].model_copy(update={"per_seed": [fixed]})
    both = combine([seeds[0], seeds[1].model_copy(update={"measures": [seeds[1].measures[0], second]})])
    assert both.measures[1].after == pytest.approx(0.92)
    assert judge(both).verdict_text == "Broken: colour accuracy is 0.850 on seed 1; the limit is at least 0.9."
