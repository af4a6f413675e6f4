"""Only who opened a writing transaction may commit it: a COMMIT from within a store function would store half of what
its callers are then told has failed.
"""

from sqlalchemy import Connection, Engine, event

_MAY_COMMIT = "may_commit"


def guard(engine: Engine) -> None:
    """Roll back, and refuse, a COMMIT that nobody allowed."""
    event.listen(engine, "commit", _check)


def let_commit(conn: Connection) -> None:
    """The one who opened the transaction is about to commit it."""
    conn.info[_MAY_COMMIT] = True


def _check(conn: Connection) -> None:
    if not conn.info.pop(_MAY_COMMIT, False):
        raw = conn.connection.dbapi_connection
        assert raw is not None
        raw.rollback()
        raise RuntimeError("A store function must not commit; the store does.")
