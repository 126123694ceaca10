"""The databases that tests of records run on: a SQLite file, and a PostgreSQL schema that is dropped after."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from moked.crm import db, tables_jobs
from moked.crm.models import Base

POSTGRES = os.environ.get("MOKED_TEST_POSTGRES", "postgresql://root@127.0.0.1:5432/test")
KINDS = ("sqlite", "postgresql")
assert tables_jobs.Job.metadata is Base.metadata  # its tables are known once it is imported


@contextmanager
def postgres_schema() -> Iterator[str]:
    """The URL of an empty schema; skips where there is no server, except in CI, where its absence is a failure."""
    engine = db.connect(POSTGRES)
    schema = f"moked_test_{secrets.token_hex(4)}"
    try:
        with engine.begin() as connection:
            connection.execute(text(f"CREATE SCHEMA {schema}"))
    except OperationalError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"no PostgreSQL at {POSTGRES} (MOKED_TEST_POSTGRES): {error.orig}")
    try:
        joint = "&" if "?" in POSTGRES else "?"
        yield f"{POSTGRES}{joint}options={quote(f'-csearch_path={schema}')}"
    finally:
        with engine.begin() as connection:
            connection.execute(text(f"DROP SCHEMA {schema} CASCADE"))
            connection.execute(text(f"DROP SCHEMA IF EXISTS {schema}_jobs CASCADE"))  # the job engine's, beside ours
        engine.dispose()


@pytest.fixture(scope="session", params=KINDS)
def _prepared(request, tmp_path_factory):
    if request.param == "sqlite":
        engine = db.connect(f"sqlite:///{tmp_path_factory.mktemp('records')}/new/folder/moked.db")
        db.migrate(engine)
        yield engine
        engine.dispose()
        return
    with postgres_schema() as url:
        engine = db.connect(url)
        db.migrate(engine)
        yield engine
        engine.dispose()


@pytest.fixture
def engine(_prepared):
    """A migrated database without rows, once for each kind."""
    yield _prepared
    with _prepared.begin() as connection:
        for table in reversed(Base.metadata.sorted_tables):
            connection.execute(table.delete())
