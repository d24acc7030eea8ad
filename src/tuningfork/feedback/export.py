"""Judgements out of the database, in the one schema of the project, with where they come from. At any time, while others label."""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import RowMapping, Select, exists, select

from tuningfork import __version__
from tuningfork.data.jsonl import write_jsonl
from tuningfork.data.judgements import Judgement, Rater
from tuningfork.feedback import schema
from tuningfork.feedback.database import Database
from tuningfork.feedback.project import read_project

JUDGEMENTS, DEMONSTRATIONS, PROVENANCE = "judgements.jsonl", "demonstrations.jsonl", "provenance.json"
LEARNT_FROM = (schema.ORDINARY, schema.TALK)
"""Purposes of judgements to train on: not of repeats, which say the same again, nor of known answers."""
_BATCH = 1000


def excluded_annotators(database: Database) -> dict[str, str]:
    """Annotators whose judgements are left out, with the reason; the latest word on each holds."""
    exclusions = schema.exclusions
    with database.read() as connection:
        rows = connection.execute(select(exclusions).order_by(exclusions.c.number)).mappings().all()
    latest = {row["annotator"]: row for row in rows}
    return {name: row["reason"] for name, row in latest.items() if row["is_excluded"]}


def judgements(database: Database, *, everything: bool = False, since: int = 0) -> Iterator[Judgement]:
    """What was judged and not taken back, in the order it was given, after judgement number `since`.

    Without `everything`: no repeats, no known answers, nobody who is excluded.
    """
    left_out = set() if everything else set(excluded_annotators(database))
    last = since
    while True:
        with database.read() as connection:
            rows = connection.execute(_page(last, everything)).mappings().all()
        if not rows:
            return
        last = rows[-1]["number"]
        yield from (_judgement(row) for row in rows if row["annotator"] not in left_out)


def demonstrations(database: Database) -> Iterator[dict[str, Any]]:
    """Better answers that were written, as rows to fine-tune on."""
    for judgement in judgements(database):
        if judgement.edit is not None:
            extra = {"id": judgement.id, "root": judgement.root, "rater": judgement.rater.id, "item": judgement.item}
            prompt = judgement.messages or judgement.prompt
            if isinstance(prompt, list):
                yield {"messages": [*prompt, {"role": "assistant", "content": judgement.edit}], "extra": extra}
            else:
                yield {"prompt": prompt, "completion": judgement.edit, "extra": extra}


def export(database: Database, folder: Path, *, everything: bool = False) -> dict[str, Any]:
    """Write judgements, demonstrations and their provenance into a folder; returns the provenance."""
    folder.mkdir(parents=True, exist_ok=True)
    counts: Counter[str] = Counter()

    def counted() -> Iterator[dict[str, Any]]:
        for judgement in judgements(database, everything=everything):
            counts.update(judgements=1, ties=not judgement.pairs(), all_bad=judgement.all_bad)
            counts[f"of {judgement.rater.id}"] += 1
            yield row_of(judgement)

    write_jsonl(folder / JUDGEMENTS, counted())
    counts["demonstrations"] = write_jsonl(folder / DEMONSTRATIONS, demonstrations(database))
    settings = read_project(database)
    provenance = {
        "database": Path(database.shown).name if database.is_sqlite else database.shown,
        "exported": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "tuningfork": __version__,
        "counts": dict(counts),
        "excluded": excluded_annotators(database),
        "repeats_and_known_answers": everything,
        "title": settings.title,
        "criteria": [criterion.model_dump() for criterion in settings.criteria],
        "guidelines_sha256": hashlib.sha256(settings.guidelines.encode()).hexdigest(),
        "sources": _sources(database),
    }
    (folder / PROVENANCE).write_text(json.dumps(provenance, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return provenance


def row_of(judgement: Judgement) -> dict[str, Any]:
    """A judgement as a row of a file; empty fields are left out."""
    return judgement.model_dump(exclude_defaults=True) | {"version": judgement.version}


def _page(last: int, everything: bool) -> Select[Any]:
    given, items, annotators = schema.judgements, schema.items, schema.annotators
    row = (
        select(
            given,
            annotators.c.kind,
            *(items.c[name] for name in ("name", "root", "prompt", "messages", "prompt_ids", "candidates")),
        )
        .join(items, items.c.number == given.c.item)
        .join(annotators, annotators.c.name == given.c.annotator)
        .where(given.c.number > last, ~exists().where(schema.withdrawals.c.judgement == given.c.id))
        .order_by(given.c.number)
        .limit(_BATCH)
    )
    return row if everything else row.where(given.c.purpose.in_(LEARNT_FROM))


def _judgement(row: RowMapping) -> Judgement:
    return Judgement(
        id=row["id"],
        item=row["name"],
        root=row["root"],
        prompt=row["prompt"],
        prompt_ids=row["prompt_ids"],
        messages=row["messages"],
        candidates=row["candidates"],
        shown=row["shown"],
        ranking=row["ranking"],
        all_bad=row["all_bad"],
        strength=row["strength"],
        ratings=row["ratings"],
        rater=Rater(id=row["annotator"], kind=row["kind"]),
        seconds=row["seconds"],
        note=row["note"],
        edit=row["edit"],
    )


def _sources(database: Database) -> list[str]:
    with database.read() as connection:
        return sorted(connection.scalars(select(schema.items.c.source).distinct()))
