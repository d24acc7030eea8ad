"""What a run shows while it works: bars with rate and time left in a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

_PLAIN_EVERY = 5.0


class Display:
    """Shows the messages of a run. Model output and data may be in them: control characters are made visible."""

    def __init__(self, console: Console | None = None, plain_every: float = _PLAIN_EVERY) -> None:
        self.console = console or Console(highlight=False, soft_wrap=True)
        self._plain_every = plain_every
        self._bars: dict[str, _BarState] = {}
        self._live: Live | None = None

    def show(self, message: Mapping[str, Any]) -> None:
        """Show one message of a worker (see `artifacts.events`)."""
        kind = message["event"]
        if kind == "say":
            self.say(message["text"])
        elif kind == "stage":
            self.say(f"[{message['number']}/{message['of']}] {message['stage']}")
        elif kind == "start":
            self._bars[message["bar"]] = _BarState(message)
            self._refresh()
        elif kind == "advance" and (bar := self._bars.get(message["bar"])):
            bar.advance(message)
            self._refresh(bar)
        elif kind == "stop" and (bar := self._bars.pop(message["bar"], None)):
            self._refresh()
            if not message["failed"]:
                self.say(bar.line())

    def say(self, text: str) -> None:
        """Show lines of text."""
        self.console.print(Text(visible(text)))

    def close(self) -> None:
        """End bars that are left, as after a crash."""
        self._bars.clear()
        self._refresh()

    def _refresh(self, moved: _BarState | None = None) -> None:
        if not self.console.is_terminal:
            if moved and time.monotonic() - moved.shown > self._plain_every:
                moved.shown = time.monotonic()
                self.say(moved.line())
            return
        if self._bars and self._live is None:
            self._live = Live(console=self.console, transient=True, auto_refresh=False)
            self._live.start()
        if self._live is not None:
            self._live.update(Text("\n").join(Text(bar.line(width=24)) for bar in self._bars.values()), refresh=True)
            if not self._bars:
                self._live.stop()
                self._live = None


class _BarState:
    def __init__(self, start: Mapping[str, Any]) -> None:
        self.total, self.label, self.unit = start["total"], start["label"], start["unit"]
        self.first = self.done = start["done"]
        self.figures: dict[str, float] = {}
        self.started = self.shown = time.monotonic()

    def advance(self, message: Mapping[str, Any]) -> None:
        self.done, self.figures = message["done"], message["figures"]

    def line(self, width: int = 0) -> str:
        """`pretrain 120/380 steps, 5.1 steps/s, 51 s left, loss 2.31`."""
        seconds = max(time.monotonic() - self.started, 1e-9)
        rate = (self.done - self.first) / seconds
        parts = [f"{self.label} {self.done:,g}/{self.total:,g} {self.unit}s"]
        if rate > 0:
            parts.append(f"{rate:,.1f} {self.unit}s/s" if rate >= 1 else f"{1 / rate:,.1f} s/{self.unit}")
            parts.append(
                f"{duration((self.total - self.done) / rate)} left" if self.done < self.total else duration(seconds)
            )
        parts += [f"{name} {value:.4g}" for name, value in self.figures.items() if isinstance(value, int | float)]
        share = min(1.0, self.done / self.total) if self.total else 1.0
        bar = ("█" * round(share * width)).ljust(width, "░") + " " if width else ""
        return bar + ", ".join(parts)


def duration(seconds: float) -> str:
    """`48 s`, `3 min 20 s`, `2 h 05 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def visible(text: str) -> str:
    """Text with control and direction-changing characters escaped; line ends and tabs stay."""
    return "".join(
        character if character.isprintable() or character in "\n\t" else character.encode("unicode_escape").decode()
        for character in text
    )
