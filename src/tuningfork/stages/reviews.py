"""Share a folder of labelled and unlabelled film reviews out: pretraining text, reward half, gold half, prompts."""

from __future__ import annotations

from tuningfork.data.reviews import ReviewSettings
from tuningfork.settings import Input
from tuningfork.stage import StageContext


class StageSettings(ReviewSettings):
    """Settings of the stage `reviews`."""

    data: Input
    """folder with `train.jsonl[.gz]`, `test*.jsonl[.gz]` (id, text, label) and `unsup*.jsonl[.gz]` (id, text)"""


def run(stage: StageContext, settings: StageSettings) -> None:
    """Write the data files; every review serves one purpose only."""
    from tuningfork.data.reviews import prepare_reviews

    counts = prepare_reviews(stage.inputs["data"].reference, stage.out, settings, seed=stage.seed)
    stage.figures.update(counts)
    stage.events.say(", ".join(f"{name} {count:,}" for name, count in counts.items()))
