"""A stage that writes a summary as `evaluate` does, with a difference that depends on its settings."""

from __future__ import annotations

from tuningfork.settings import Input, ReadOnceInput, Settings
from tuningfork.stage import StageContext


class StageSettings(Settings):
    """Settings of the stage `measure`."""

    before: Input = "steps"
    """what is measured"""
    prompts: ReadOnceInput | None = None
    """what it is measured on"""
    difference: float = 0.5
    """by how much things got better"""


def run(stage: StageContext, settings: StageSettings) -> None:
    """Write summary.json."""
    from tuningfork.evals.summary import Measure, SeedValue, Summary, write_summary

    after = 0.1 + settings.difference
    measure = Measure(
        name="share", role="headline", direction="higher", before=0.1, after=after, difference=settings.difference,
        ci95=(settings.difference - 0.1, settings.difference + 0.1), p=0.001, n=100, num_roots=50,
        per_seed=[SeedValue(seed=stage.seed, before=0.1, after=after, difference=settings.difference)],
    )  # fmt: skip
    reads = stage.inputs["prompts"].num_choices if settings.prompts else 1
    write_summary(Summary(measures=[measure], seeds=[stage.seed], test_reads=reads), stage.out / "summary.json")
