"""Does anything of it lie anywhere? Every byte of a folder, and every value of a database, is looked at.

SQLite is a file with its write-ahead log beside it, so that freed pages count too. PostgreSQL's rows are asked for as
text: its own files belong to the server.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from sqlalchemy import Engine, inspect, text


def forms(needle: str | bytes) -> list[bytes]:
    """How a text may be written: as UTF-8, or escaped in JSON."""
    if isinstance(needle, bytes):
        return [needle]
    return [needle.encode(), json.dumps(needle)[1:-1].encode()]


def found(needles: Sequence[str | bytes], folder: Path, engine: Engine) -> list[str]:
    """Where one of them is: "<file>: <needle>"."""
    return [
        f"{where}: {needle!r:.40}"
        for where, content in _everything(folder, engine)
        for needle in needles
        if any(form in content for form in forms(needle))
    ]


def _everything(folder: Path, engine: Engine) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield path.name, path.read_bytes()
    if engine.dialect.name == "sqlite":
        database = Path(str(engine.url.database))
        for path in database.parent.glob(f"{database.name}*"):
            yield path.name, path.read_bytes()
        return
    with engine.connect() as connection:
        for table in inspect(engine).get_table_names():
            for (row,) in connection.execute(text(f'SELECT t::text FROM "{table}" t')):
                yield table, row.encode()
            for column in inspect(engine).get_columns(table):
                if "BYTEA" in str(column["type"]):
                    for (value,) in connection.execute(text(f'SELECT "{column["name"]}" FROM "{table}"')):
                        yield f"{table}.{column['name']}", bytes(value or b"")
