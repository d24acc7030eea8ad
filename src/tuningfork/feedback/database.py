"""The labelling database: SQLite in a file, or PostgreSQL by URL, behind SQLAlchemy Core.

SQLite runs with a write-ahead log and a sync at each commit: what was acknowledged survives a kill and a power cut. A write
takes the database's lock when it begins, so that two writers wait for each other instead of failing.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError

from tuningfork.errors import RunError
from tuningfork.feedback.migrations import migrate

_WAIT = 30.0
_MIGRATION_LOCK = 0x7466_6C62


class Database:
    """An open database with present tables. `now` gives the time, in seconds since 1970.

    Example: with Database.open("labels.db").write() as connection: connection.execute(...)
    """

    def __init__(self, engine: Engine, now: Callable[[], float] = time.time) -> None:
        self.engine, self.now = engine, now
        self._writer = engine.execution_options(is_write=True)
        self._turn = threading.Lock() if self.is_sqlite else nullcontext()

    @classmethod
    def open(cls, where: str | Path, now: Callable[[], float] = time.time) -> Database:
        """The database in a file (made where there is none) or at a URL. RunError where it cannot be opened."""
        url = database_url(where)
        try:
            database = cls(_engine(url), now)
            with database.write() as connection:
                if not database.is_sqlite:
                    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
                migrate(connection)
        except ModuleNotFoundError as error:
            raise RunError(f"{shown_url(url)} needs the package {error.name}; pip install 'psycopg[binary]'") from error
        except DBAPIError as error:
            raise RunError(f"cannot open the database {shown_url(url)}: {str(error.orig).strip()}") from error
        return database

    @property
    def is_sqlite(self) -> bool:
        """Whether this is a file, with one writer at a time."""
        return self.engine.dialect.name == "sqlite"

    @property
    def shown(self) -> str:
        """Where it is, without a password."""
        return shown_url(self.engine.url)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that changes nothing."""
        with self.engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction: committed at the end, undone where the block raises."""
        with self._turn, self._writer.begin() as connection:
            yield connection

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    def backup(self, target: Path) -> None:
        """Copy the database into a new SQLite file, while others go on writing. RunError for PostgreSQL, which has pg_dump."""
        if not self.is_sqlite:
            raise RunError(f"{self.shown} is backed up with pg_dump; `label-export` writes the judgements at any time")
        if target.exists():
            raise RunError(f"{target} exists; give the backup a new name")
        temporary = target.with_name(f".{target.name}.tmp")
        temporary.unlink(missing_ok=True)
        source = sqlite3.connect(str(self.engine.url.database), timeout=_WAIT)
        copy = sqlite3.connect(temporary)
        try:
            source.backup(copy)
        finally:
            copy.close()
            source.close()
        temporary.replace(target)


def database_url(where: str | Path) -> URL:
    """The URL of a database given as a file or as a URL. RunError for a kind that is not known."""
    if isinstance(where, Path) or "://" not in where:
        return URL.create("sqlite", database=str(where))
    try:
        url = make_url(where)
    except (ArgumentError, ValueError) as error:
        raise RunError("--db: not a database URL; use a file name or postgresql://USER@HOST/NAME") from error
    kind = url.get_backend_name()
    if kind == "postgresql":
        return url.set(drivername="postgresql+psycopg")
    if kind != "sqlite" or not url.database:
        raise RunError(f"--db: no {kind} database is known here; use a file name or postgresql://USER@HOST/NAME")
    return url


def shown_url(url: URL) -> str:
    """Where a database is: its file, or its URL without the password."""
    return str(url.database) if url.get_backend_name() == "sqlite" else url.render_as_string(hide_password=True)


def _engine(url: URL) -> Engine:
    if url.get_backend_name() != "sqlite":
        return create_engine(url, pool_pre_ping=True, pool_size=8, max_overflow=8)
    Path(str(url.database)).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(
        url, pool_size=8, max_overflow=8, connect_args={"timeout": _WAIT, "check_same_thread": False}
    )
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, record: Any) -> None:
    connection.isolation_level = None  # transactions begin in `_begin_sqlite`, not where the driver thinks
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "cache_size=-32000"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    is_write = connection.get_execution_options().get("is_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if is_write else "BEGIN")
