"""The judgements of a labelling database as plain rows, for whoever counts them. Withdrawn ones are left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import exists, select

from tuningfork.feedback import schema
from tuningfork.feedback.database import Database

TIE = "tie"
Ranking = Sequence[Sequence[int]]


@dataclass(frozen=True)
class Given:
    """One judgement. Answers have the numbers of the item; `shown[0]` was on the left, or on top."""

    item: str
    annotator: str
    purpose: str
    """`schema.ORDINARY`, `GOLD`, `REPEAT` or `TALK`"""
    at: float
    shown: tuple[int, ...]
    ranking: tuple[tuple[int, ...], ...]
    strength: float = 0.0
    seconds: float | None = None
    gold: tuple[tuple[int, ...], ...] | None = None
    """the known ranking"""
    id: str = ""
    note: str = ""

    @property
    def best(self) -> int | str:
        """Number of the answer put first, or `TIE` where several are."""
        return best_of(self.ranking)

    @property
    def is_right(self) -> bool:
        """Whether it puts first what the known ranking does."""
        return self.gold is not None and self.best == best_of(self.gold)

    @property
    def place(self) -> int | str:
        """Where the answer put first stood on the screen, from 0 on the left; or `TIE`."""
        best = self.best
        return best if isinstance(best, str) else self.shown.index(best)

    @property
    def is_pair(self) -> bool:
        """Whether two answers were compared."""
        return len(self.shown) == 2

    @property
    def scale(self) -> float:
        """Of a pair, how much better answer 0 is: 3 strongly to -3; 1 where no strength was asked; 0 for a tie."""
        best = self.best
        size = self.strength or 1.0
        return 0.0 if best == TIE else size if best == 0 else -size


def best_of(ranking: Ranking) -> int | str:
    """Number of the answer a ranking puts first, or `TIE`."""
    return ranking[0][0] if len(ranking[0]) == 1 else TIE


def read_answers(database: Database) -> list[Given]:
    """All judgements that were not taken back, in the order they were given, those of excluded annotators among them."""
    judgements, items, withdrawals = schema.judgements, schema.items, schema.withdrawals
    rows = (
        select(judgements, items.c.name, items.c.gold)
        .join(items, items.c.number == judgements.c.item)
        .where(~exists().where(withdrawals.c.judgement == judgements.c.id))
        .order_by(judgements.c.number)
    )
    with database.read() as connection:
        return [
            Given(
                item=row["name"],
                annotator=row["annotator"],
                purpose=row["purpose"],
                at=row["at"],
                shown=tuple(row["shown"]),
                ranking=_ranking(row["ranking"]),
                strength=row["strength"],
                seconds=row["seconds"],
                gold=_ranking(row["gold"]) if row["gold"] else None,
                id=row["id"],
                note=row["note"],
            )
            for row in connection.execute(rows).mappings()
        ]


def _ranking(stored: Any) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(group) for group in stored)
