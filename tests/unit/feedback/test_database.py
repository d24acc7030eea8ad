"""The labelling database: made, opened again, refused where it is something else, copied, without a password in sight."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import inspect, select

from tuningfork.errors import RunError
from tuningfork.feedback import migrations, schema
from tuningfork.feedback.database import Database, database_url, shown_url
from tuningfork.feedback.project import ProjectSettings, parse_criteria, read_project, write_project


def test_a_database_is_made_and_opened_again(tmp_path: Path) -> None:
    database = Database.open(tmp_path / "deep" / "labels.db")
    assert set(inspect(database.engine).get_table_names()) == set(schema.metadata.tables)
    write_project(database, ProjectSettings(title="Which one?"))
    database.close()
    again = Database.open(str(tmp_path / "deep" / "labels.db"))
    assert read_project(again).title == "Which one?"
    with again.read() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
    again.close()


def test_an_older_database_is_brought_to_the_present(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Database.open(tmp_path / "labels.db").close()
    steps: list[int] = []
    monkeypatch.setattr(schema, "VERSION", schema.VERSION + 2)
    made = {schema.VERSION - 1: lambda _: steps.append(1), schema.VERSION: lambda _: steps.append(2)}
    monkeypatch.setattr(migrations, "MIGRATIONS", made)
    Database.open(tmp_path / "labels.db").close()
    Database.open(tmp_path / "labels.db").close()
    assert steps == [1, 2], "each step once, in order"


def test_a_newer_database_and_a_foreign_one_are_refused(tmp_path: Path) -> None:
    database = Database.open(tmp_path / "labels.db")
    with database.write() as connection:
        connection.execute(schema.project.update().where(schema.project.c.key == "version").values(value=99))
    database.close()
    with pytest.raises(RunError, match="version 99"):
        Database.open(tmp_path / "labels.db")
    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("create table items (x)")
    other.close()
    with pytest.raises(RunError, match="another program"):
        Database.open(tmp_path / "other.db")
    (tmp_path / "text.db").write_text("this is no database, but a text that is long enough to be looked at" * 20)
    with pytest.raises(RunError, match="cannot open"):
        Database.open(tmp_path / "text.db")


def test_urls_are_understood_and_passwords_never_shown() -> None:
    url = database_url("postgresql://anna:secret@host/labels")
    assert url.drivername == "postgresql+psycopg" and "secret" not in shown_url(url)
    for wrong in ("mysql://host/x", "http://host/x", "://", "postgresql://[::1/x"):
        with pytest.raises(RunError, match="--db"):
            database_url(wrong)
    with pytest.raises(RunError) as error:
        Database.open("postgresql://anna:secret@127.0.0.1:1/labels?connect_timeout=1")
    assert "secret" not in str(error.value)


def test_a_failed_block_leaves_nothing(tmp_path: Path) -> None:
    database = Database.open(tmp_path / "labels.db")
    row = {"name": "anna", "role": "annotator", "kind": "person", "token_hash": "x", "created_at": 0.0}
    with pytest.raises(ZeroDivisionError), database.write() as connection:
        connection.execute(schema.annotators.insert().values(**row))
        raise ZeroDivisionError
    with database.read() as connection:
        assert connection.execute(select(schema.annotators)).first() is None
    database.close()


def test_criteria_of_the_command_line() -> None:
    plain, scaled = parse_criteria(["kind", "true:0-7=Is it so?"])
    assert (plain.name, plain.lowest, plain.highest) == ("kind", 1, 5)
    assert (scaled.name, scaled.lowest, scaled.highest, scaled.meaning) == ("true", 0, 7, "Is it so?")
    for wrong in ("", "kind:x", "kind:1-99", "x" * 61):
        with pytest.raises(ValueError, match="--criteria"):
            parse_criteria([wrong])
    with pytest.raises(ValueError, match="one name"):
        ProjectSettings(criteria=parse_criteria(["kind", "kind"]))
