"""Questions with accepted and wrong answers, from files of any format and with any names of their columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import Field

import tuningfork.settings
from tuningfork.data.sources import raw_rows
from tuningfork.errors import DataError

_NAMES = {
    "question": ("prompt", "question", "input", "query"),
    "accepted": ("answers", "references", "correct_answers", "accepted", "answer", "completion"),
    "wrong": ("wrong", "incorrect_answers", "wrong_answers"),
    "root": ("root",),
    "group": ("group", "category"),
    "id": ("id",),
    "given": ("answer", "completion", "response", "output", "text"),
}


class Settings(tuningfork.settings.Settings):
    """How rows are read; columns called as usual need nothing."""

    columns: dict[str, str] = Field(default_factory=dict)
    """field (question, accepted, wrong, root, group, id, given) -> the column that holds it"""
    separator: str = ";"
    """what stands between answers where a column called in the plural holds one text"""
    after: str | None = None
    """an answer is what follows this mark, `####` in GSM8K; in given answers too, where it occurs there"""


@dataclass(frozen=True)
class Question:
    """A question, what answers it and what does not. Without accepted answers it can only be abstained from.

    Example: Question("q1", "what colour is the sky?", "sky", "all", ("blue", "azure"), ("red",))
    """

    id: str
    text: str
    root: str
    """what it was made from: the unit of intervals"""
    group: str
    accepted: tuple[str, ...]
    wrong: tuple[str, ...]


def read_questions(source: str, settings: Settings) -> list[Question]:
    """Every question of a file; DataError with the place of a row that is none."""
    questions = []
    for place, row in _rows(source):
        text, accepted = _value(row, "question", settings), _value(row, "accepted", settings)
        if not isinstance(text, str) or accepted is None:
            known = ", ".join(row)
            raise DataError(f"{place}: no question with accepted answers among the columns {known}; say `columns`")
        id = str(_value(row, "id", settings) or len(questions))
        root, group = _value(row, "root", settings), _value(row, "group", settings)
        questions.append(
            Question(
                id,
                text,
                str(root if root is not None else id),
                str(group if group is not None else "all"),
                tuple(after(answer, settings.after) for answer in _answers(accepted, "accepted", row, settings)),
                tuple(_answers(_value(row, "wrong", settings), "wrong", row, settings)),
            )
        )
    twice = [id for id, count in Counter(question.id for question in questions).items() if count > 1]
    if twice:
        raise DataError(f"{source}: {twice[0]!r} is the id of two questions; give each its own")
    if not questions:
        raise DataError(f"{source}: no question")
    return questions


def read_given(source: str, questions: Sequence[Question], settings: Settings) -> list[str]:
    """Answers that somebody gave, one for each question, found by its id or its text; DataError where one is missing."""
    by_id: dict[str, str] = {}
    by_text: dict[str, str] = {}
    for place, row in _rows(source):
        answer = _value(row, "given", settings)
        if not isinstance(answer, str):
            raise DataError(f"{place}: no answer among the columns {', '.join(row)}; say `columns: {{given: ...}}`")
        id, text = _value(row, "id", settings), _value(row, "question", settings)
        if id is not None:
            by_id[str(id)] = answer
        if isinstance(text, str):
            by_text[text.strip()] = answer
    missing = [q for q in questions if q.id not in by_id and q.text.strip() not in by_text]
    if missing:
        raise DataError(
            f"{source}: no answer to {len(missing)} of {len(questions)} questions, for example {missing[0].id!r}"
        )
    return [by_id[q.id] if q.id in by_id else by_text[q.text.strip()] for q in questions]


def after(text: str, mark: str | None) -> str:
    """What follows the last `mark`; the text itself without one."""
    return text.rpartition(mark)[2].strip() if mark and mark in text else text


def _rows(source: str) -> list[tuple[str, Mapping[str, Any]]]:
    rows = []
    for raw in raw_rows(source):
        if raw.row is None:
            raise DataError(f"{raw.place}: {raw.fault}")
        rows.append((raw.place, raw.row))
    return rows


def _column(row: Mapping[str, Any], field: str, settings: Settings) -> str | None:
    if field in settings.columns:
        return settings.columns[field] if settings.columns[field] in row else None
    plain = {str(name).lower().replace(" ", "_"): str(name) for name in row}
    return next((plain[name] for name in _NAMES[field] if name in plain), None)


def _value(row: Mapping[str, Any], field: str, settings: Settings) -> Any:
    column = _column(row, field, settings)
    return None if column is None else row[column]


def _answers(value: Any, field: str, row: Mapping[str, Any], settings: Settings) -> list[str]:
    """A list as it is; a text of a column in the plural cut at the separator; any other text whole."""
    if value is None:
        return []
    if isinstance(value, Mapping):
        value = value.get("text", [])
    if isinstance(value, str):
        column = (_column(row, field, settings) or "").lower()
        parts = value.split(settings.separator) if column.endswith("s") else [value]
        return [part.strip() for part in parts if part.strip()]
    return [str(answer) for answer in value]
