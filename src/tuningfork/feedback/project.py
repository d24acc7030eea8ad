"""What a labelling project asks and of whom: kept in its database, so that every server and every export knows it."""

from __future__ import annotations

from pydantic import Field, ValidationError, field_validator
from sqlalchemy import Connection, select

from tuningfork.errors import RecipeError
from tuningfork.feedback import schema
from tuningfork.feedback.database import Database
from tuningfork.settings import Settings

_KEY = "settings"


class Criterion(Settings):
    """Something that each answer is rated on, beside the choice."""

    name: str = Field(min_length=1, max_length=60)
    meaning: str = Field(default="", max_length=400)
    """what is asked, in one sentence"""
    lowest: int = 1
    """the worst rating"""
    highest: int = Field(default=5, le=10)
    """the best rating"""


class ProjectSettings(Settings):
    """Settings of a labelling project."""

    title: str = "Which answer is better?"
    """the question at the top of the page"""
    guidelines: str = ""
    """how to choose, with examples; a little Markdown: headings, lists, quotes, **bold**, `code`"""
    criteria: tuple[Criterion, ...] = Field(default=(), max_length=8)
    """what each answer is rated on, beside the choice"""
    asks_strength: bool = True
    """whether the choice has a strength: slightly, clearly, strongly"""
    asks_edit: bool = True
    """whether a better answer may be written: it becomes a demonstration"""
    raters: int = Field(default=1, ge=1)
    """judgements wanted of each item, by different annotators"""
    overlap_share: float = Field(default=0.1, ge=0, le=1)
    """share of the items that are asked of more annotators, to measure agreement"""
    overlap_raters: int = Field(default=2, ge=1)
    """how many annotators those are asked of"""
    repeat_share: float = Field(default=0.03, ge=0, lt=0.5)
    """share of an annotator's items that are hidden repeats of earlier ones, to measure self-consistency"""
    repeat_gap: int = Field(default=12, ge=1)
    """judgements between an item and its repeat, at least"""
    gold_share: float = Field(default=0.05, ge=0, lt=0.5)
    """share of an annotator's items that have a known answer, where there are such items"""
    lease_seconds: float = Field(default=900, gt=0)
    """how long an item stays with an annotator whose page is gone"""
    seed: int = 0
    """of the order of sides and of the choice of repeats and known answers"""

    @field_validator("criteria")
    @classmethod
    def _names_differ(cls, criteria: tuple[Criterion, ...]) -> tuple[Criterion, ...]:
        if len({criterion.name for criterion in criteria}) < len(criteria):
            raise ValueError("two criteria have one name")
        if any(criterion.lowest >= criterion.highest for criterion in criteria):
            raise ValueError("the lowest rating of a criterion must be below its highest")
        return criteria


def read_project(database: Database) -> ProjectSettings:
    """The settings of the project in a database; the defaults where none were stored."""
    with database.read() as connection:
        stored = _stored(connection)
    return ProjectSettings.model_validate(stored or {})


def write_project(database: Database, settings: ProjectSettings) -> None:
    """Store the settings; those of an earlier start are replaced and stay in the events."""
    with database.write() as connection:
        stored = _stored(connection)
        value = settings.model_dump(mode="json")
        if stored == value:
            return
        if stored is not None:
            connection.execute(schema.project.delete().where(schema.project.c.key == _KEY))
        connection.execute(schema.project.insert().values(key=_KEY, value=value))


def parse_criteria(texts: list[str]) -> tuple[Criterion, ...]:
    """Criteria of the command line: `name`, `name:1-7` or `name=what is meant`; RecipeError for others."""
    found = []
    for text in texts:
        head, _, meaning = text.partition("=")
        name, colon, scale = head.partition(":")
        lowest, _, highest = scale.partition("-")
        try:
            limits = {"lowest": int(lowest), "highest": int(highest)} if colon else {}
            found.append(Criterion(name=name.strip(), meaning=meaning.strip(), **limits))
        except (ValueError, ValidationError) as error:
            raise RecipeError(f"--criteria {text!r}: write NAME, NAME:1-5 or NAME=what is meant") from error
    return tuple(found)


def _stored(connection: Connection) -> dict[str, object] | None:
    return connection.scalar(select(schema.project.c.value).where(schema.project.c.key == _KEY))
