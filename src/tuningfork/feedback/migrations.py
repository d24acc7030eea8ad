"""Bringing the tables of an older database to the present ones, a version at a time."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping

from sqlalchemy import Connection, inspect, select
from sqlalchemy.dialects import postgresql, sqlite

from tuningfork.errors import RunError
from tuningfork.feedback import schema

MIGRATIONS: Mapping[int, Callable[[Connection], None]] = {}
"""Version -> what makes its tables of those of the version before."""


def migrate(connection: Connection) -> None:
    """Make the tables, or bring them to the present version. RunError for a database of a newer Tuningfork, or of something else."""
    tables = set(inspect(connection).get_table_names())
    if schema.project.name not in tables:
        if tables & set(schema.metadata.tables):
            raise RunError("the database holds tables of another program; give --db another database")
        schema.metadata.create_all(connection)
        connection.execute(schema.project.insert().values(key="id", value=secrets.token_hex(4)))
        _stamp(connection, schema.VERSION)
        return
    stored = connection.scalar(select(schema.project.c.value).where(schema.project.c.key == "version"))
    version = int(stored or 0)
    if not 0 < version <= schema.VERSION:
        raise RunError(
            f"the database has version {version} and this Tuningfork knows up to {schema.VERSION}; install a newer one"
        )
    for number in range(version + 1, schema.VERSION + 1):
        MIGRATIONS[number](connection)
        _stamp(connection, number)


def _stamp(connection: Connection, version: int) -> None:
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    statement = insert(schema.project).values(key="version", value=version)
    connection.execute(
        statement.on_conflict_do_update(index_elements=["key"], set_={"value": statement.excluded.value})
    )
