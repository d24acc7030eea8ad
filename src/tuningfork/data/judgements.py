"""One record for every judgement: by people, models, rules and simulated raters alike."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from itertools import combinations, product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, ValidationError

from tuningfork.data.dialogue import tagged_text
from tuningfork.errors import DataError
from tuningfork.settings import Settings

if TYPE_CHECKING:
    from tuningfork.data.reader import Dataset

VERSION = 1
_SOURCES = ("source", "dataset", "subset", "scenario", "category", "domain")
"""Fields of other files that say where a row comes from, the first one found."""


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
    """what was asked; a dialogue as the plain text of its turns"""
    prompt_ids: list[int] | None = None
    messages: list[dict[str, Any]] | None = None
    """the turns of the prompt, where it is a dialogue"""
    candidates: list[Candidate] = Field(min_length=2)
    shown: list[int]
    """the order in which the candidates were shown"""
    ranking: list[list[int]]
    """candidate numbers, best first; candidates in one group are tied"""
    all_bad: bool = False
    """whether the rater found none of the candidates good"""
    strength: float = Field(default=0.0, ge=0)
    """how much better the best was, in the rater's units; 0 when not asked"""
    probability: float | None = Field(default=None, ge=0.5, le=1)
    """of two candidates: how sure the rater is of the ranking; a soft label to learn from"""
    ratings: list[dict[str, float]] = Field(default_factory=list)
    """per candidate, one number for each criterion of the user's own list"""
    rater: Rater
    source: str = ""
    """where the row comes from, or what kind of task it is, so that results can be told apart by it"""
    seconds: float | None = Field(default=None, ge=0)
    """time taken"""
    note: str = ""
    edit: str | None = None
    """a better answer written by the rater"""

    def pairs(self) -> list[tuple[int, int]]:
        """(better, worse) candidate numbers; ties give none."""
        return [pair for upper, lower in combinations(self.ranking, 2) for pair in product(upper, lower)]

    def as_ranking(self) -> dict[str, Any]:
        """The judgement as a canonical row of the shape `ranking`; candidates that were not ranked are left out."""
        placed = [(number, place) for place, group in enumerate(self.ranking, 1) for number in group]
        answers = [self.candidates[number].text for number, _ in placed]
        return {"prompt": self.prompt, "answers": answers, "ranks": [place for _, place in placed]}


def write_judgements(path: Path, judgements: Iterable[Judgement]) -> None:
    """Write one JSON object a line; empty fields are left out."""
    with path.open("w", encoding="utf-8") as file:
        for judgement in judgements:
            row = judgement.model_dump(exclude_defaults=True) | {"version": VERSION}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def read_judgements(data: str | Path | Dataset) -> list[Judgement]:
    """Judgements of a file: in this schema, or made of rows of a preference, ranking or tree; DataError with the place.

    A row of comparisons that may contradict each other gives one judgement for each. Messages become the plain text of a dialogue.
    """
    from tuningfork.data.adapters import RANKING_SHAPES, rankings
    from tuningfork.data.reader import open_data

    data = open_data(data, accept=RANKING_SHAPES) if isinstance(data, str | Path) else data
    judgements = []
    for number, (place, row) in enumerate(rankings(data), 1):
        extra = row.get("extra", {})
        try:
            if "candidates" in extra and "rater" in extra:
                judgements.append(Judgement.model_validate(extra | {"prompt": row["prompt"]}))
            else:
                judgements += _from_ranking(row, extra, number)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(map(str, first["loc"]))
            raise DataError(f"{place}: not a judgement: {where}: {first['msg']}") from error
    return judgements


def _from_ranking(row: dict[str, Any], extra: dict[str, Any], number: int) -> list[Judgement]:
    prompt = row["prompt"] if isinstance(row["prompt"], str) else tagged_text(row["prompt"], is_open=True)
    name = str(extra.get("id", number))
    orders = [_groups(row["ranks"])] if "ranks" in row else [_comparison(*item) for item in row["comparisons"]]
    return [
        Judgement(
            id=name if len(orders) == 1 else f"{name}/{index}",
            item=name,
            root=str(extra.get("root", prompt)),
            prompt=prompt,
            messages=row["prompt"] if isinstance(row["prompt"], list) else None,
            candidates=[Candidate(text=text) for text in row["answers"]],
            shown=list(range(len(row["answers"]))),
            ranking=ranking,
            strength=float(row.get("strength", 0.0)),
            rater=Rater(id="file", kind="person"),
            source=next((str(extra[name]) for name in _SOURCES if isinstance(extra.get(name), str)), ""),
        )
        for index, ranking in enumerate(orders)
    ]


def _groups(ranks: Sequence[int]) -> list[list[int]]:
    """Numbers of the candidates, best first, those of one rank together."""
    return [[number for number, r in enumerate(ranks) if r == rank] for rank in sorted(set(ranks))]


def _comparison(better: int, worse: int, strength: int) -> list[list[int]]:
    return [[better], [worse]] if strength else [[better, worse]]
