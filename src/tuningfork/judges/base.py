"""What every judge takes and gives. No torch here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from tuningfork.data.judgements import Candidate
    from tuningfork.settings import Settings
    from tuningfork.stage import StageContext

RaterKind = Literal["person", "model", "rule", "simulated"]


@dataclass(frozen=True)
class Pair:
    """Two responses to one prompt, in the order in which they are shown.

    Example: Pair("7", "chair", "what colour is the chair?", Candidate(text="blue."), Candidate(text="azure."))
    """

    id: str
    root: str
    prompt: str
    a: Candidate
    b: Candidate
    row: Mapping[str, Any] = field(default_factory=dict)
    """what else is known of the prompt"""

    def swapped(self) -> Pair:
        """The same responses in the other order."""
        return Pair(self.id, self.root, self.prompt, self.b, self.a, self.row)


@dataclass(frozen=True)
class Opinion:
    """How probable it is, says a judge, that `a` is better: 1 or 0 for a plain choice, .5 for a tie, None where what it said
    cannot be understood. `note` is what it said."""

    probability: float | None
    note: str = ""


class Judge(Protocol):
    """Compares responses. An opinion depends on its own pair alone, and may depend on the order of the two."""

    name: str
    kind: RaterKind

    def compare(self, pairs: Sequence[Pair]) -> list[Opinion | None]:
        """One opinion a pair, in order; None for a pair that was not asked about, because a cap was reached."""
        ...


class JudgeKind(Protocol):
    """What a module of `judges.kinds` offers. It is imported without torch, to check recipes."""

    Settings: type[Settings]

    def load(self, stage: StageContext, settings: Any, field: str) -> Judge:
        """The judge these settings describe."""
        ...


def compare(judge: Judge, prompt: str, a: str, b: str) -> float | None:
    """How probable a judge finds it that `a` is better than `b`, asked in this order alone."""
    from tuningfork.data.judgements import Candidate

    (opinion,) = judge.compare([Pair("", prompt, prompt, Candidate(text=a), Candidate(text=b))])
    return opinion.probability if opinion else None
