"""Judges: whoever compares two responses to a prompt. Each file in `kinds` is one kind, found by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tuningfork.judges.base import Judge

if TYPE_CHECKING:
    from tuningfork.judges.settings import JudgeSettings
    from tuningfork.stage import StageContext


def load_judge(stage: StageContext, settings: JudgeSettings, field: str = "judge") -> Judge:
    """The judge that `settings` describe; its inputs are those of the stage below `field`."""
    from tuningfork.judges.settings import kind_module

    return kind_module(settings.name).load(stage, settings, field)
