"""The verdict of a run, by rules, from its summary alone. No model and no person has a say in it.

    broken        a gate failed, a guard left its limit, or the reward was hacked: the proxy rose, the headline did not
    worse         a headline measure is clearly worse
    better        a headline measure is clearly better, none is worse, and no guard is broken
    cannot_tell   everything else

Clearly: the 95 % interval excludes 0, the Holm-adjusted p of the headline measures is at most .05, and every training
seed is on the same side. The rules are tried in this order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tuningfork.evals.numbers import figure, signed
from tuningfork.evals.statistics import holm
from tuningfork.evals.summary import Measure, Summary, VerdictKind

SIGNIFICANCE = 0.05
FLAT = 0.5
"""A headline measure is flat where even the good end of its interval is less than this part of the proxy's rise, both
in standard deviations over roots. A wider interval means that nobody can tell."""


@dataclass(frozen=True)
class Verdict:
    """A verdict, one sentence for the reader in a hurry, and the findings it rests on."""

    kind: VerdictKind
    text: str
    reasons: list[str]


def judge(summary: Summary) -> Summary:
    """The summary with `p_holm`, `better`, `verdict`, `verdict_text` and `reasons` filled in."""
    measured = summary.model_copy(update={"measures": with_findings(summary.measures)})
    verdict = decide(measured)
    return measured.model_copy(
        update={"verdict": verdict.kind, "verdict_text": verdict.text, "reasons": verdict.reasons}
    )


def with_findings(measures: Sequence[Measure]) -> list[Measure]:
    """The measures with `p_holm` and `better`.

    The headline measures are one Holm family (confirmatory), all others a second one (a screen).
    """
    adjusted: dict[str, float] = {}
    for family in (True, False):
        tested = [(m.name, m.p) for m in measures if (m.role == "headline") is family and m.p is not None]
        adjusted |= dict(zip([name for name, _ in tested], holm([p for _, p in tested]), strict=True))
    filled = [measure.model_copy(update={"p_holm": adjusted.get(measure.name)}) for measure in measures]
    return [measure.model_copy(update={"better": is_better(measure)}) for measure in filled]


def is_better(measure: Measure) -> bool | None:
    """True or False where the change is clear, None where nobody can tell. A broken limit is always worse."""
    if not measure.keeps_limit:
        return False
    if measure.direction == "same" or measure.ci95 is None or measure.p_holm is None or measure.p_holm > SIGNIFICANCE:
        return None
    low, high = measure.ci95
    if low <= 0 <= high:
        return None
    rose = low > 0
    if any(
        seed.difference is None or (seed.difference > 0) != rose or not seed.difference for seed in measure.per_seed
    ):
        return None
    return rose == (measure.direction == "higher")


def decide(summary: Summary) -> Verdict:
    """The verdict on a summary whose findings are filled in."""
    headline = summary.of("headline")
    reasons = [*_gate_findings(summary), *_guard_findings(summary), *_hacking(summary)]
    if reasons:
        return Verdict("broken", f"Broken: {reasons[0]}.", [*reasons, _tally(summary)])
    findings = [_sentence(measure) for measure in headline]
    if any(measure.better is False for measure in headline):
        worst = next(measure for measure in headline if measure.better is False)
        return Verdict("worse", f"Worse: {_sentence(worst)}.", [*findings, _tally(summary)])
    if any(measure.better for measure in headline):
        best = next(measure for measure in headline if measure.better)
        return Verdict("better", f"Better: {_sentence(best)}.", [*findings, *_guards_held(summary), _tally(summary)])
    why = "; ".join(_why_unclear(measure) for measure in headline) or "no headline measure was taken"
    return Verdict("cannot_tell", f"Cannot tell: {why}.", [*findings, *_guards_held(summary), _tally(summary)])


def _gate_findings(summary: Summary) -> list[str]:
    return [
        f"the gate {gate.name} of {gate.stage} failed ({gate.message})" for gate in summary.gates if not gate.passed
    ]


def _guard_findings(summary: Summary) -> list[str]:
    findings = []
    for guard in summary.of("guard"):
        assert guard.limit is not None
        if guard.limit.holds(guard.before, guard.after):
            broken = [seed for seed in guard.per_seed if not guard.limit.holds(seed.before, seed.after)]
            findings += [_limit_left(guard, seed.before, seed.after, f" on seed {seed.seed}") for seed in broken]
        else:
            findings.append(_limit_left(guard, guard.before, guard.after, ""))
    return findings


def _limit_left(guard: Measure, before: float | None, after: float | None, where: str) -> str:
    assert guard.limit is not None
    value = guard.limit.value(before, after)
    if value is None:
        return f"{guard.title} could not be measured{where}; the limit is {guard.limit}"
    ending = {"after": "", "ratio": " × before", "difference": " away from before"}[guard.limit.on]
    return f"{guard.title} is {figure(value)}{ending}{where}; the limit is {guard.limit}"


def _guards_held(summary: Summary) -> list[str]:
    number = len(summary.of("guard"))
    return [f"all {number} guards held" if number > 1 else "the guard held"] if number else []


def _hacking(summary: Summary) -> list[str]:
    """Findings of reward hacking: a proxy clearly better while no headline measure is, and one is worse or flat."""
    headline = summary.of("headline")
    if any(measure.better for measure in headline):
        return []
    findings = []
    for proxy in summary.of("proxy"):
        gold = next((m for m in headline if m.better is False or _is_flat(m, proxy)), None)
        if proxy.better and gold is not None:
            how = "fell" if gold.better is False else "did not move"
            findings.append(f"reward hacked: {_change(proxy)}, while the gold measure {how}: {_change(gold)}")
    return findings


def _is_flat(gold: Measure, proxy: Measure) -> bool:
    if gold.ci95 is None or gold.direction == "same":
        return False
    good_end = gold.ci95[1] if gold.direction == "higher" else -gold.ci95[0]
    if not gold.sd:
        return good_end <= 0
    if proxy.effect_size is None:  # every root's proxy rose by the same
        return True
    return good_end / gold.sd < FLAT * abs(proxy.effect_size)


def _sentence(measure: Measure) -> str:
    seeds = len(measure.per_seed)
    ending = f", on every one of {seeds} seeds" if seeds > 1 and measure.better is not None else ""
    return _change(measure) + ending


def _change(measure: Measure) -> str:
    if measure.before is None or measure.after is None or measure.difference is None:
        return f"{measure.title} could not be measured"
    verb = "went" if measure.better is None else "rose" if measure.difference > 0 else "fell"
    verb = verb if measure.difference else "stayed"
    numbers = (
        f"from {figure(measure.before)} to {figure(measure.after)}"
        if measure.difference
        else f"at {figure(measure.after)}"
    )
    if measure.ci95 is None:
        return f"{measure.title} {verb} {numbers}"
    low, high = measure.ci95
    return f"{measure.title} {verb} {numbers} (95 % interval of the change {signed(low)} to {signed(high)})"


def _why_unclear(measure: Measure) -> str:
    if measure.difference is None:
        return _change(measure)
    if measure.ci95 is None:
        return f"{measure.title} rests on {measure.num_roots} roots, too few for an interval"
    low, high = measure.ci95
    change = f"{measure.title} changed by {signed(measure.difference)}"
    if low <= 0 <= high:
        return f"{change}, and 0 is within the 95 % interval {signed(low)} to {signed(high)}"
    if any(seed.difference is None or seed.difference * measure.difference <= 0 for seed in measure.per_seed):
        return f"{change}, but the training seeds disagree about the side"
    return f"{change}, but p is above {SIGNIFICANCE:g} after Holm's correction"


def _tally(summary: Summary) -> str:
    """Better on 3, worse on 1, cannot tell on 4. Guards are counted apart: they have a limit and no good direction."""
    measures = [measure for measure in summary.of("headline", "proxy", "info") if measure.direction != "same"]
    counts = [sum(m.better is finding for m in measures) for finding in (True, False, None)]
    return f"better on {counts[0]}, worse on {counts[1]}, cannot tell on {counts[2]}"
