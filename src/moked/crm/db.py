"""Opening the database, and bringing its tables up to date. The only file that imports Alembic.

SQLite serves a small office: one file, readers never wait for the writer (WAL), writers queue for `_BUSY_MS`. A writing
transaction takes the write lock at once (BEGIN IMMEDIATE): one that began by reading could not wait for it later, it
would fail with "database is locked". PostgreSQL serves more than one machine; rows are locked where `service` asks.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError
from sqlalchemy.orm import Session, sessionmaker

from moked.errors import SettingsError

READ_ONLY = {"moked_read_only": True}
"""Execution options of an engine whose transactions only read: on SQLite they do not queue for the write lock."""

_BUSY_MS = 10_000
_MIGRATIONS = Path(__file__).parent / "migrations"
_ALEMBIC = threading.Lock()  # its context and its operations belong to the process, whatever the database
_LOCK_KEY = 0x4D4F4B4544  # "MOKED": any number nobody else in the database uses


@dataclass(frozen=True, slots=True)
class SchemaState:
    """`current`: the revision the tables are at, None for an empty database. `head`: the one this program wants."""

    current: str | None
    head: str

    @property
    def ready(self) -> bool:
        return self.current == self.head


def connect(url: str) -> Engine:
    """An engine for `sqlite:///path` or `postgresql://...`; nothing is opened yet, but SQLite's folder is made.

    Raises `SettingsError` naming DATABASE_URL.
    """
    try:
        target = _with_driver(make_url(url))
    except ArgumentError as error:
        raise SettingsError("DATABASE_URL is not a database address, for example sqlite:///moked.db") from error
    try:
        if target.get_backend_name() == "sqlite":
            return _sqlite(target)
        return create_engine(
            target,
            pool_size=10,
            max_overflow=30,
            pool_pre_ping=True,
            connect_args={"connect_timeout": 5},
            hide_parameters=True,  # they are what people said
        )
    except (ModuleNotFoundError, NoSuchModuleError) as error:
        raise SettingsError(
            f"DATABASE_URL asks for {target.drivername}, which is not installed; "
            "for PostgreSQL install the extra: pip install 'moked[postgres]'"
        ) from error


class Records:
    """What keeps records on `engine`: transactions that write, one at a time on SQLite, and transactions that read."""

    def __init__(self, engine: Engine) -> None:
        self._write = sessionmaker(engine, expire_on_commit=False)
        self._read = sessionmaker(engine.execution_options(**READ_ONLY), expire_on_commit=False)
        # SQLite's own waiting is polling, and unfair: under load a thread waited for seconds. A lock is a queue.
        self._one_writer = threading.Lock() if engine.dialect.name == "sqlite" else nullcontext()

    @contextmanager
    def _writing(self) -> Iterator[Session]:
        with self._one_writer, self._write.begin() as session:
            yield session

    @contextmanager
    def _reading(self) -> Iterator[Session]:
        """Without the lock of a writer: nobody waits for it."""
        with self._read.begin() as session:
            yield session


def migrate(engine: Engine) -> None:
    """Bring the tables to this program's revision. Of processes that start together one works, the others wait."""
    with _ALEMBIC, engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK_KEY})
        # On SQLite the transaction itself is the lock: it began with BEGIN IMMEDIATE.
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def scrub(engine: Engine) -> bool:
    """After something was erased: nothing of it stays in the journal or in free pages. False where somebody still
    reads.

    SQLite overwrites what is deleted (`secure_delete`), but its write-ahead log has former pages until it is emptied,
    and the index of words has former words until it is written anew.
    On PostgreSQL `VACUUM` frees dead rows; their bytes are overwritten when the space is used again.
    """
    if engine.dialect.name == "sqlite":
        with engine.begin() as connection:
            if inspect(connection).has_table("search_fts"):
                connection.execute(text("INSERT INTO search_fts(search_fts) VALUES ('optimize')"))
        raw = engine.raw_connection()
        try:
            busy: int = raw.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        finally:
            raw.close()
        return not busy
    with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(text("VACUUM"))
    return True


def schema_state(engine: Engine) -> SchemaState:
    """What the tables are, and what they should be."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    assert head is not None
    with engine.execution_options(**READ_ONLY).connect() as connection:
        return SchemaState(MigrationContext.configure(connection).get_current_revision(), head)


def _with_driver(url: URL) -> URL:
    if url.drivername in ("postgres", "postgresql"):
        return url.set(drivername="postgresql+psycopg")
    return url


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    return config


def _sqlite(url: URL) -> Engine:
    if url.database and url.database != ":memory:" and not url.database.startswith("file:"):
        Path(url.database).expanduser().parent.mkdir(parents=True, exist_ok=True)
        url = url.set(database=str(Path(url.database).expanduser()))
    engine = create_engine(url, connect_args={"timeout": _BUSY_MS / 1000}, hide_parameters=True)

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, record: Any) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves, below
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = NORMAL")  # with WAL: a power cut may lose the last moment, never the file
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.execute("PRAGMA secure_delete = ON")  # what is deleted is overwritten with zeros
        cursor.execute("PRAGMA cache_size = -512")  # in KB; times the pool's connections, and the system caches as well
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        reading = connection.get_execution_options().get("moked_read_only", False)
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    return engine
