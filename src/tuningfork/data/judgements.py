"""One record for every judgement: by people, models, rules and simulated raters alike."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import combinations, product
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from tuningfork.data.jsonl import read_jsonl
from tuningfork.errors import DataError
from tuningfork.settings import Settings

VERSION = 1


class Candidate(Settings):
    """One response that was judged."""

    text: str
    """the response as a person reads it"""
    ids: list[int] | None = None
    """its token ids as sampled, EOS included where the model wrote one; kept so that nothing is tokenised again"""
    has_ended: bool = True
    """whether the response ended by itself"""
    artifact: str = ""
    """key of the model that wrote it"""
    sampling: dict[str, Any] = Field(default_factory=dict)
    """how it was sampled"""


class Rater(Settings):
    """Who judged."""

    id: str
    kind: Literal["person", "model", "rule", "simulated"]


class Judgement(Settings):
    """One answer of a judge about K candidates for one prompt.

    Example: Judgement(id="7", item="chair/3", root="chair", prompt="what colour is the chair?",
        candidates=[a, b], shown=[1, 0], ranking=[[1], [0]], rater=Rater(id="anna", kind="person"))
    """

    version: Literal[1] = VERSION
    id: str
    item: str
    """what was asked about: the prompt's id"""
    root: str
    """what the prompt was made from; the unit of every split"""
    prompt: str
    prompt_ids: list[int] | None = None
    candidates: list[Candidate] = Field(min_length=2)
    shown: list[int]
    """the order in which the candidates were shown"""
    ranking: list[list[int]]
    """candidate numbers, best first; candidates in one group are tied"""
    strength: float = Field(default=0.0, ge=0)
    """how much better the best was, in the rater's units; 0 when not asked"""
    ratings: list[dict[str, float]] = Field(default_factory=list)
    """per candidate, one number for each criterion of the user's own list"""
    rater: Rater
    seconds: float | None = Field(default=None, ge=0)
    """time taken"""
    note: str = ""
    edit: str | None = None
    """a better answer written by the rater"""

    def pairs(self) -> list[tuple[int, int]]:
        """(better, worse) candidate numbers; ties give none."""
        return [pair for upper, lower in combinations(self.ranking, 2) for pair in product(upper, lower)]


def write_judgements(path: Path, judgements: Iterable[Judgement]) -> None:
    """Write one JSON object a line; empty fields are left out."""
    with path.open("w", encoding="utf-8") as file:
        for judgement in judgements:
            row = judgement.model_dump(exclude_defaults=True) | {"version": VERSION}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def read_judgements(source: str | Path) -> list[Judgement]:
    """Read judgements, or plain preference rows {"prompt", "chosen", "rejected"}; DataError with the row."""
    rows = read_jsonl(Path(source))
    judgements = []
    for number, row in enumerate(rows, 1):
        try:
            judgements.append(_from_preference(row, number) if "chosen" in row else Judgement.model_validate(row))
        except (ValidationError, KeyError) as error:
            first = str(error).splitlines()[0]
            raise DataError(
                f"{source}, row {number}: not a judgement ({first}); needs prompt, chosen, rejected"
            ) from error
    return judgements


def _from_preference(row: dict[str, Any], number: int) -> Judgement:
    return Judgement(
        id=str(row.get("id", number)),
        item=str(row.get("id", number)),
        root=str(row.get("root", row["prompt"])),
        prompt=row["prompt"],
        candidates=[Candidate(text=row["chosen"]), Candidate(text=row["rejected"])],
        shown=[0, 1],
        ranking=[[0], [1]],
        strength=float(row.get("margin", 0.0)),
        rater=Rater(id="file", kind="person"),
    )
