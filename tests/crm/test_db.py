"""Opening and migrating, on both databases."""

import multiprocessing
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import select
from sqlalchemy.exc import StatementError
from sqlalchemy.orm import Session

from moked.crm import db
from moked.crm.models import Base, Business
from moked.errors import SettingsError
from tests.databases import KINDS, postgres_schema


def test_the_migrations_give_the_tables_of_the_models(engine):
    def compared(item, name, kind, reflected, other):
        """All but what search has of its own on each database."""
        return not (kind == "table" and name.startswith("search_fts")) and name != "ix_search_entry_words"

    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_object": compared})
        assert compare_metadata(context, Base.metadata) == []
    assert db.schema_state(engine).ready


@pytest.fixture(params=KINDS)
def empty_url(request, tmp_path):
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/moked.db"
    else:
        with postgres_schema() as url:
            yield url


def _migrate(url, start):
    start.wait(20)
    db.migrate(db.connect(url))


def test_two_processes_may_migrate_at_once(empty_url):
    engine = db.connect(empty_url)
    assert db.schema_state(engine).current is None
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(2)
    both = [context.Process(target=_migrate, args=(empty_url, start)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(60)
    assert [process.exitcode for process in both] == [0, 0]
    assert db.schema_state(engine).ready
    engine.dispose()


def test_two_threads_may_migrate_different_databases_at_once(tmp_path):
    engines = [db.connect(f"sqlite:///{tmp_path}/{number}.db") for number in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(db.migrate, engines))
    assert all(db.schema_state(engine).ready for engine in engines)
    for engine in engines:
        engine.dispose()


def test_moments_come_back_as_the_same_moment_in_utc(engine):
    jerusalem = timezone(timedelta(hours=2))
    with Session(engine) as session, session.begin():
        session.add(Business(key="a", name="x", created_at=datetime(2026, 11, 22, 12, 0, tzinfo=jerusalem)))
    with Session(engine) as session:
        found = session.scalars(select(Business.created_at)).one()
        assert found == datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
        assert found.utcoffset() == timedelta(0)
    with Session(engine) as session:
        session.add(Business(key="b", name="x", created_at=datetime(2026, 11, 22)))
        with pytest.raises(StatementError, match="naive"):
            session.flush()


def test_text_nobody_can_store_is_stored_without_what_cannot_be(engine):
    with Session(engine) as session, session.begin():
        session.add(Business(key="a", name="מו\0קד\ud800" + "ב" * 300, created_at=datetime.now(UTC)))
    with Session(engine) as session:
        name = session.scalars(select(Business.name)).one()
        assert name.startswith("מוקד?ב")
        assert len(name) == 200


def test_sqlite_is_opened_for_many_threads(tmp_path):
    engine = db.connect(f"sqlite:///{tmp_path}/deep/er/moked.db")
    with engine.connect() as connection:
        say = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
        assert say == {"journal_mode": "wal", "synchronous": 1, "foreign_keys": 1}
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 10_000
    engine.dispose()


@pytest.mark.parametrize("url", ["postgresql://u@h/d", "postgres://u@h/d", "postgresql+psycopg://u@h/d"])
def test_postgres_is_spoken_to_with_psycopg_3(url):
    assert db.connect(url).url.drivername == "postgresql+psycopg"


@pytest.mark.parametrize("url", ["moked.db", "", "oracle+nothing://x/y"])
def test_a_wrong_address_names_the_variable(url):
    with pytest.raises(SettingsError, match="DATABASE_URL"):
        db.connect(url)


def test_the_migrations_are_inside_the_package():
    folder = Path(db.__file__).parent / "migrations"
    assert (folder / "env.py").is_file()
    assert list((folder / "versions").glob("0001_*.py"))
