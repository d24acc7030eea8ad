"""Settings of sampling. No torch here."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from tuningfork.settings import Settings


class SamplingSettings(Settings):
    """How a response is drawn from a model.

    Order: tokens below `floor` are dropped, then the logits are divided by the temperature, then top_k, then top_p.
    Training on samples wants the defaults (no filter): with a filter the samples come from another distribution than
    the one the trainer computes, and the ratio of the two is biased.
    """

    max_new_tokens: int = Field(ge=1)
    """longest response, its EOS included"""
    temperature: float = Field(default=1.0, gt=0)
    """the logits are divided by it"""
    top_k: int = Field(default=0, ge=0)
    """only the k likeliest tokens; 0 keeps all"""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """only the likeliest tokens that together reach this probability; 1 keeps all"""
    floor: float = Field(default=0.0, ge=0, lt=1)
    """tokens less likely than this at temperature 1 are dropped first, so that a high temperature varies what is said
    and does not break words into pieces that never occur; the likeliest token always stays"""
    least_entropy: float = Field(default=0.0, ge=0)
    """where the distribution has less entropy than this, in nats, the temperature is 1: a high temperature then varies
    the choices a model has, and not the words it is sure of"""
    greedy: bool = False
    """always the likeliest token"""

    @model_validator(mode="after")
    def _greedy_takes_nothing_else(self) -> Self:
        if self.greedy and (self.temperature, self.top_k, self.top_p, self.floor, self.least_entropy) != (
            1.0,
            0,
            1.0,
            0.0,
            0.0,
        ):
            raise ValueError("greedy: true leaves nothing for temperature, top_k, top_p and floor to do; remove them")
        if self.least_entropy and self.temperature == 1.0:
            raise ValueError("least_entropy has no effect at temperature 1")
        return self

    @property
    def filters(self) -> list[str]:
        """Settings that make samples come from another distribution than that of the model at this temperature."""
        values = {
            "top_k": self.top_k,
            "top_p": 1 - self.top_p,
            "floor": self.floor,
            "least_entropy": self.least_entropy,
        }
        return [name for name, value in values.items() if value]
