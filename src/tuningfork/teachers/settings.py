"""Rules for what a teacher writes. No torch here."""

from __future__ import annotations

from pydantic import Field

from tuningfork.settings import Settings


class InstructionRules(Settings):
    """What an instruction has to be like to be kept."""

    rouge_l: float = Field(default=0.7, gt=0, le=1)
    """instructions at least this similar (ROUGE-L) to one that is there are dropped; 1 drops equal ones alone"""
    words: tuple[int, int] = (3, 150)
    """fewest and most words"""
    excluded: tuple[str, ...] = (
        "image",
        "images",
        "picture",
        "pictures",
        "photo",
        "graph",
        "diagram",
        "video",
        "audio",
    )
    """words that a model of text alone cannot serve (Self-Instruct, section 3.1)"""


class AnswerRules(Settings):
    """What an answer has to be like to be kept."""

    words: tuple[int, int] = (1, 400)
    """fewest and most words"""
    drop_refusals: bool = True
    """whether short answers that say sorry are dropped (Evol-Instruct)"""
