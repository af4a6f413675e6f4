"""SQLite databases with today's tables and nothing in them, for tests that do not ask how the tables came to be.

The migrations run once per process, into a template; a copy of that takes a hundredth of what they take.
"""

import sqlite3
from functools import cache
from pathlib import Path
from typing import Any, cast

from sqlalchemy import make_url

from headend.store import Store, open_store


def place(path: Path) -> str:
    """The URL of a new database in the file `path`."""
    path.write_bytes(_template().serialize())
    return f"sqlite:///{path}"


def open_new(url: str, **options: Any) -> Store:
    """What `open_store` gives where nothing is yet: in memory, in a new file, or on a server that has the tables."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite" or Path(parsed.database or "").is_file():
        return open_store(url, **options)
    if parsed.database:
        place(Path(parsed.database))
        return Store(url, **options)
    store = Store(url, **options)
    _template().backup(_driver(store))
    return store


@cache
def _template() -> sqlite3.Connection:
    """A database in memory, for as long as the process lives."""
    return _driver(open_store("sqlite://"))


def _driver(store: Store) -> sqlite3.Connection:
    """The one connection of a database in memory."""
    with store.writes.connect() as conn:
        return cast(sqlite3.Connection, conn.connection.driver_connection)
