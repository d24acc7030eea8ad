"""Settings of a model that is asked: on this machine, or at an endpoint. No torch here."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from tuningfork.settings import Host, Input, Settings

AskedIn = Literal["chat", "text"]


class ReplySampling(Settings):
    """How replies are drawn."""

    max_new_tokens: int = Field(default=512, ge=1)
    """longest reply in tokens; one that is cut there is dropped"""
    temperature: float = Field(default=0.7, ge=0)
    """0 takes the likeliest token each time"""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """only the likeliest tokens that together reach this probability"""


class LocalSettings(Settings):
    """A model on this machine."""

    kind: Literal["local"]
    model: Input
    """folder, artifact or hub id"""
    asked_in: AskedIn = "chat"
    """`chat` puts a question into the model's chat template where it has one; `text` asks with the plain text, as a model
    that was never trained on conversations has to be asked"""


class EndpointSettings(Settings):
    """An OpenAI-compatible endpoint (`POST url/chat/completions`)."""

    kind: Literal["endpoint"]
    url: Host
    """address up to the version: `https://api.example.com/v1`"""
    model: str = Field(min_length=1)
    """the model's name there"""
    key_env: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    """name of your environment variable that holds the key; it is sent to this host alone, and never over plain http. Better
    left out and bound to the host in your own `keys.yaml`, see docs/judges.md"""
    token_cap: int = Field(ge=1)
    """most tokens, of prompts and replies together, that this stage may use; before it could be passed, asking stops"""
    prompt_price: float | None = Field(default=None, ge=0)
    """price of a million prompt tokens, in any currency"""
    reply_price: float | None = Field(default=None, ge=0)
    """price of a million reply tokens, in the same currency"""
    cost_cap: float | None = Field(default=None, gt=0)
    """most that this stage may cost, in that currency; needs both prices. Before it could be passed, asking stops"""
    concurrency: int = Field(default=4, ge=1, le=64)
    """requests under way at once"""
    timeout: float = Field(default=120, gt=0)
    """seconds to wait for a reply"""
    retries: int = Field(default=5, ge=0)
    """further attempts after a fault that may pass (no connection, timeout, 408, 429, 5xx)"""
    backoff: float = Field(default=1.0, gt=0)
    """seconds before the first further attempt; each waits twice as long as the one before, or as the server says"""

    @model_validator(mode="after")
    def _a_cap_needs_prices(self) -> Self:
        if self.cost_cap is not None and None in (self.prompt_price, self.reply_price):
            raise ValueError("cost_cap needs prompt_price and reply_price")
        return self


AskedSettings = Annotated[LocalSettings | EndpointSettings, Field(discriminator="kind")]
"""Who is asked: `{kind: local, model: FOLDER}` or `{kind: endpoint, url: ..., model: NAME, token_cap: 200000}`."""
