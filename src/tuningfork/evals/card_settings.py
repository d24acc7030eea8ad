"""Settings of a reward model's card. No torch here."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tuningfork.settings import Input, Settings


class CardSettings(Settings):
    """What is measured on held-out feedback before anything is optimised on the reward model."""

    gate: Literal["stop", "warn", "none"] = "stop"
    """what becomes of a reward model that orders answers no better than their length does: `stop` ends the run, `warn` goes on
    and marks it, so that reinforcement learning refuses it, `none` only says so"""
    certainty: Literal["interval", "estimate"] = "interval"
    """what beating length means: the whole 95 % interval of the difference is above 0, or the difference itself"""
    comparisons: int = Field(default=2000, ge=10)
    """most held-out comparisons (or texts) that are measured on, drawn by seed"""
    likelihood: bool = True
    """also measure how often the answer that the model found likelier before training is the better one"""
    words: bool = True
    """also measure a linear model of words (TF-IDF) that is trained on the same feedback"""
    rewrites: int = Field(default=200, ge=0)
    """held-out answers that are paraphrased, cut, praised and said twice, to see what the score makes of it"""
    probes: int = Field(default=64, ge=0)
    """held-out prompts that are answered with answers nobody wants"""
    compare: Input | None = None
    """another reward model that is measured on the same held-out feedback, such as one with a trunk of its own; it must not
    have been trained on it"""
