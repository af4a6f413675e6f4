"""Deleting for good: what a database file, its log or a freed page still holds of a deleted row is overwritten.

SQLite leaves deleted bytes in its pages and in the log of the last writes; PostgreSQL leaves dead rows until a vacuum.
`overwriting` and `flush` are cheap and follow each erasure; `rewrite` goes through the whole database.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, Table

_SQLITE = "sqlite"
_FLUSH = "PRAGMA wal_checkpoint(TRUNCATE)"


@contextmanager
def overwriting(conn: Connection) -> Iterator[None]:
    """Within it, SQLite overwrites with zeros what is deleted."""
    if conn.dialect.name != _SQLITE:
        yield
        return
    before = conn.exec_driver_sql("PRAGMA secure_delete").scalar_one()
    conn.exec_driver_sql("PRAGMA secure_delete=ON")
    try:
        yield
    finally:
        conn.exec_driver_sql(f"PRAGMA secure_delete={int(before)}")


def flush(engine: Engine) -> bool:
    """After a commit: write SQLite's log back and empty it; False while somebody reads from it, try again then."""
    return engine.dialect.name != _SQLITE or _outside(engine, (_FLUSH,))


def rewrite(engine: Engine, tables: tuple[Table, ...]) -> bool:
    """Write all of SQLite, or these tables of PostgreSQL, anew, without what was deleted; they are locked meanwhile.

    False where others kept it from that.
    """
    if engine.dialect.name == _SQLITE:
        return _outside(engine, ("VACUUM", _FLUSH))
    vacuum = tuple(f'VACUUM (FULL) "{table.name}"' for table in tables)
    return _outside(engine, ("SET statement_timeout = 0", *vacuum))


def _outside(engine: Engine, statements: tuple[str, ...]) -> bool:
    """Run statements outside of any transaction; whether all of them were carried out."""
    raw = engine.raw_connection()
    try:
        driver: Any = raw.driver_connection
        if engine.dialect.name != _SQLITE:
            driver.autocommit = True
        cursor = driver.cursor()
        for statement in statements:
            cursor.execute(statement)
            if statement == _FLUSH and cursor.fetchone()[0]:  # "busy"
                return False
        return True
    except engine.dialect.loaded_dbapi.OperationalError:
        return False
    finally:
        if engine.dialect.name != _SQLITE:
            raw.invalidate()  # it was set up otherwise than those of the pool
        raw.close()
