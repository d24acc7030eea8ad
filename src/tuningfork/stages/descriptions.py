"""Share restaurants and their descriptions out: training, prompts with references, and the gold judge's language."""

from __future__ import annotations

from pathlib import Path

from tuningfork.data.descriptions import DescriptionSettings
from tuningfork.settings import Input
from tuningfork.stage import StageContext


class StageSettings(DescriptionSettings):
    """Settings of the stage `descriptions`."""

    data: Input
    """folder with `e2e_*.jsonl[.gz]`: rows `{"mr", "ref"}` or `{"mr", "refs"}`"""


def run(stage: StageContext, settings: StageSettings) -> None:
    """Write the data files; every list of facts serves one purpose only."""
    from tuningfork.data.descriptions import prepare_descriptions

    counts = prepare_descriptions(Path(stage.inputs["data"].reference), stage.out, settings, stage.seed)
    stage.figures.update(counts)
    stage.events.say(", ".join(f"{name} {count:,}" for name, count in counts.items()))
