"""Make the data of an embedded world: texts, prompts with their splits, and the truth that raters and the gold judge know."""

from __future__ import annotations

from pydantic import Field

from tuningfork.settings import Settings
from tuningfork.stage import StageContext


class StageSettings(Settings):
    """Settings of the stage `world`."""

    world: str = "colours"
    """name of an embedded world"""
    settings: dict[str, str] = Field(default_factory=dict)
    """settings of that world, e.g. `mapping` of colours: plain word -> words people prefer"""


def run(stage: StageContext, settings: StageSettings) -> None:
    """Write the world's data files."""
    from tuningfork.worlds import load_world

    counts = load_world(settings.world, **settings.settings).build(stage.seed, stage.out)
    stage.figures.update(counts)
    stage.events.say(", ".join(f"{name} {count:,}" for name, count in counts.items()))
