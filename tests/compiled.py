"""Statements are compiled once in a process of tests, as they are in a head end that has one database.

Each engine of SQLAlchemy keeps what it has compiled for itself, and tests open hundreds of databases: a third of what
they took went into compiling the same statements again. `share()` lets all engines of a kind have one dialect, which is
part of the key of what is compiled, and one place for it.
"""

from functools import wraps
from typing import Any

import sqlalchemy
from sqlalchemy import Engine
from sqlalchemy.util import LRUCache

from headend.store import postgres, sqlite

_ENOUGH = 10_000  # nothing that tests run is ever dropped

# of what drives it and how it isolates: the first engine, and its dialect once that has learnt of which version it is
_first: dict[tuple[str, Any], Engine] = {}


@wraps(sqlalchemy.create_engine)
def _create_engine(url: Any, **options: Any) -> Engine:
    made = sqlalchemy.create_engine(url, **options)
    kind = made.url.drivername, options.get("isolation_level")
    first = _first.get(kind)
    if first is None or getattr(first.dialect, "server_version_info", None) is None:  # it never connected
        made._compiled_cache = LRUCache(_ENOUGH)
        _first[kind] = made
    else:
        made.dialect = made.pool._dialect = first.dialect
        made._compiled_cache = first._compiled_cache
    return made


def share() -> None:
    sqlite.create_engine = postgres.create_engine = _create_engine  # type: ignore[attr-defined]
