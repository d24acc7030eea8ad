"""What an audit found, as numbers and in plain words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from tuningfork.errors import DataError

VERSION = 1
MOST_PLACES = 3

Severity = Literal["stop", "warn", "note"]


@dataclass(frozen=True)
class Finding:
    """One kind of problem: in how many rows `of` how many, and where the first ones are."""

    name: str
    severity: Severity
    count: int
    of: int
    text: str
    places: tuple[str, ...] = ()
    unit: str = "rows"

    @property
    def share(self) -> float:
        """Rows with it, of those looked at."""
        return self.count / self.of if self.of else 0.0

    def line(self) -> str:
        """`warn  near_duplicates: 12 of 4,000 rows (0.3 %) ...`."""
        where = f" ({'; '.join(self.places)})" if self.places else ""
        counted = f"{self.count:,} of {self.of:,} {self.unit} ({self.share:.1%}) " if self.of else ""
        return f"{self.severity:4}  {self.name}: {counted}{self.text}{where}"


def finding(name: str, severity: Severity, places: Sequence[str], of: int, text: str, unit: str = "rows") -> Finding:
    """A finding in the rows at `places`; the first three are kept."""
    return Finding(name, severity, len(places), of, text, tuple(places[:MOST_PLACES]), unit)


@dataclass(frozen=True)
class Lengths:
    """Lengths of one side of the rows, in `unit`."""

    side: str
    unit: str
    median: float
    p95: float
    largest: int

    def line(self) -> str:
        """`prompt: median 12, 95 % below 40, longest 97 words`."""
        return f"{self.side}: median {self.median:,.0f}, 95 % at most {self.p95:,.0f}, longest {self.largest:,} {self.unit}"


@dataclass(frozen=True)
class AuditReport:
    """The audit of one source. `supervised_share` is of tokens where a tokenizer was given, else of characters."""

    source: str
    shape: str
    explanation: str
    rows: int
    supervised_share: float
    supervised_unit: Literal["tokens", "characters"]
    skipped: int = 0
    lengths: tuple[Lengths, ...] = ()
    findings: tuple[Finding, ...] = ()
    figures: dict[str, Any] = field(default_factory=dict)
    examples: tuple[dict[str, Any], ...] = ()
    """ten rows spread over the data: `{"place", "pieces": [[text, "context" | "target" | "other"], ...]}`"""

    @property
    def stops(self) -> tuple[Finding, ...]:
        """Findings with which training would be pointless."""
        return tuple(found for found in self.findings if found.severity == "stop")

    def to_json(self) -> dict[str, Any]:
        """Plain data, `problems` with the gravest first."""
        problems = [asdict(found) | {"share": found.share, "places": list(found.places)} for found in self.findings]
        return {
            "version": VERSION,
            "source": self.source,
            "shape": self.shape,
            "explanation": self.explanation,
            "rows": self.rows,
            "skipped": self.skipped,
            "supervised_share": self.supervised_share,
            "supervised_unit": self.supervised_unit,
            "lengths": [asdict(length) for length in self.lengths],
            "figures": self.figures,
            "problems": problems,
            "examples": list(self.examples),
        }

    def lines(self) -> list[str]:
        """The report in plain words."""
        head = f"{self.rows:,} rows of the shape {self.shape} ({self.explanation})"
        left_out = f"; {self.skipped:,} left out as faulty" if self.skipped else ""
        share = f"supervised: {self.supervised_share:.1%} of all {self.supervised_unit}"
        figures = [f"{name.replace('_', ' ')}: {_figure(value)}" for name, value in self.figures.items()]
        found = [one.line() for one in self.findings] or ["no problem found"]
        return [head + left_out, share, *(length.line() for length in self.lengths), *figures, *found]

    def check(self) -> None:
        """DataError with every stop-level finding where there is one."""
        if self.stops:
            raise DataError(
                f"{self.source}: " + "; ".join(one.line().removeprefix("stop").strip() for one in self.stops)
            )


def _figure(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_figure(inner)}" for key, inner in value.items())
    return f"{value:.3g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
