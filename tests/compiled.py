"""Statements are compiled once in a process of tests, as they are in a head end that has one database.

Each engine of SQLAlchemy keeps what it has compiled for itself, and tests open hundreds of databases: a third of what
they took went into compiling the same statements again. `share()` gives all engines of a kind one place for it, where a
statement is found by itself and its dialect; so dialects of a kind are made equal.
"""

from functools import cache, wraps
from typing import Any

import sqlalchemy
from sqlalchemy import Engine
from sqlalchemy.util import LRUCache

from headend.store import postgres, sqlite

_ENOUGH = 10_000  # nothing that tests run is ever dropped


@cache
def _equals(kind: type[Any]) -> tuple[type[Any], LRUCache[Any, Any]]:
    """The same dialect, each equal to every other; and what is compiled for all of them."""

    def equal(one: object, other: object) -> bool:
        return type(one) is type(other)

    says = {"__eq__": equal, "__hash__": lambda _: hash(kind), "supports_statement_cache": True}
    made = type(kind.__name__, (kind,), says)
    return made, LRUCache(_ENOUGH)


@wraps(sqlalchemy.create_engine)
def _create_engine(url: Any, **options: Any) -> Engine:
    made = sqlalchemy.create_engine(url, **options)
    made.dialect.__class__, made._compiled_cache = _equals(type(made.dialect))
    return made


def share() -> None:
    sqlite.create_engine = postgres.create_engine = _create_engine  # type: ignore[attr-defined]
