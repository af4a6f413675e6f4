"""What a domain function needs and SQL says differently for each database; the connection tells which one it is.

Everything else is said in one way for both: `SELECT … FOR UPDATE SKIP LOCKED` is `with_for_update(skip_locked=True)`,
of which nothing is left where there is one writer.
"""

from collections.abc import Sequence
from functools import cache
from importlib import import_module
from typing import Any

from sqlalchemy import Connection, Table


@cache
def _of(dialect: str) -> Any:
    return import_module({"sqlite": "headend.store.sqlite", "postgresql": "headend.store.postgres"}[dialect])


def copy_in(conn: Connection, table: Table, rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert many rows at once, each a tuple of all columns in their order."""
    _of(conn.dialect.name).copy_in(conn, table, rows)


def now_s(conn: Connection) -> int:
    """What the database's clock says, UTC seconds: the one clock of all who share it."""
    return int(_of(conn.dialect.name).now_s(conn))
