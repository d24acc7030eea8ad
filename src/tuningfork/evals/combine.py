"""One summary of several training seeds. The seeds' spread is a column of its own, never hidden in the interval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from tuningfork.errors import RunError
from tuningfork.evals.summary import GateRecord, LedgerEntry, Measure, Regression, Summary, mean

SHOWN_REGRESSIONS = 30

Record = TypeVar("Record", GateRecord, Regression)


def combine(summaries: Sequence[Summary]) -> Summary:
    """The summary over runs that differ in their seed only; not judged yet.

    Values are means over seeds. The interval has the mean of the seeds' lower and of their upper ends: exact if the
    seeds' errors go together (they share prompts), too wide if not. p is twice the mean of the seeds' p, valid under
    any dependence (Rüschendorf 1982). A seed that a gate stopped has nothing but its gates: the verdict will be broken.
    """
    if not summaries:
        raise RunError("no summary to combine: no seed has been evaluated")
    if len(summaries) == 1:
        return summaries[0]
    measured = [s for s in summaries if s.measures or all(gate.passed for gate in s.gates)]  # a gate stopped the others
    first = measured[0] if measured else summaries[0]
    names = [measure.name for measure in first.measures]
    for other in measured:
        if [measure.name for measure in other.measures] != names:
            raise RunError(
                f"seeds {first.seeds} and {other.seeds} were measured differently; run `evaluate` again for both"
            )
    return Summary(
        recipe=first.recipe,
        measures=[_combine_measure(list(group)) for group in zip(*(s.measures for s in measured), strict=True)],
        kl_per_sequence=mean([s.kl_per_sequence for s in measured]),
        kl_least=mean([s.kl_least for s in measured]),
        seconds=mean([s.seconds for s in summaries]),
        peak_memory_mb=max((s.peak_memory_mb for s in summaries if s.peak_memory_mb is not None), default=None),
        seeds=[seed for s in summaries for seed in s.seeds],
        gates=[_with_seed(gate, s) for s in summaries for gate in s.gates],
        ledger=_combine_ledger(summaries),
        regressions=[_with_seed(one, s) for s in summaries for one in s.regressions][:SHOWN_REGRESSIONS],
        num_regressions=sum(len(s.regressions) if s.num_regressions is None else s.num_regressions for s in summaries),
        test_reads=max(s.test_reads for s in summaries),
    )


def _with_seed(record: Record, summary: Summary) -> Record:
    return record.model_copy(update={"seed": summary.seeds[0]}) if len(summary.seeds) == 1 else record


def _combine_measure(group: list[Measure]) -> Measure:
    intervals = [one.ci95 for one in group if one.ci95 is not None]
    tests = [one.p for one in group if one.p is not None]
    complete = len(intervals) == len(group)
    return group[0].model_copy(
        update={
            "before": mean([one.before for one in group]),
            "after": mean([one.after for one in group]),
            "difference": mean([one.difference for one in group]),
            "ci95": tuple(sum(ends) / len(group) for ends in zip(*intervals, strict=True)) if complete else None,
            "p": min(1.0, 2 * sum(tests) / len(tests)) if len(tests) == len(group) else None,
            "n": sum(one.n for one in group),
            "num_roots": min(one.num_roots for one in group),
            "effect_size": mean([one.effect_size for one in group]),
            "sd": mean([one.sd for one in group]),
            "p_holm": None,
            "better": None,
            "per_seed": [value for one in group for value in one.per_seed],
        }
    )


def _combine_ledger(summaries: Sequence[Summary]) -> list[LedgerEntry]:
    entries: dict[tuple[str, str], list[LedgerEntry]] = {}
    for summary in summaries:
        for entry in summary.ledger:
            entries.setdefault((entry.stage, entry.probe), []).append(entry)
    return [group[0].model_copy(update={"value": mean([e.value for e in group])}) for group in entries.values()]
