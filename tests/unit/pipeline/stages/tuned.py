"""A stage whose looks depend on its settings in a known way, for searches: the best rate is 0.3."""

from __future__ import annotations

from tuningfork.settings import Input, Settings
from tuningfork.stage import StageContext


class StageSettings(Settings):
    """Settings of the stage `tuned`."""

    data: Input | None = None
    """something to read"""
    rate: float = 0.1
    """what is searched"""
    reach: float = 1.0
    """nats it moves away"""
    budget: float | None = None
    """seconds, which change nothing"""


def run(stage: StageContext, settings: StageSettings) -> None:
    """Log two looks and write a file."""
    for step, share in ((0, 0.0), (5, 1.0)):
        gold = share * (1 - abs(settings.rate - 0.3))
        stage.events.log(step=step, **{"monitor/kl": share * settings.reach, "gold/good": gold})
    stage.events.log(step=6, loss=0.1)
    (stage.out / "result.txt").write_text(f"{stage.seed} {settings.rate} {settings.budget}")
