"""Statements of hot paths, put together once and run by the database's driver itself.

A statement that goes through SQLAlchemy's execution costs some 60 µs of work around the 5–25 µs that SQLite needs for
it, and a payment takes twenty of them. `prepared` compiles a Core statement once for each database (and each set of
values that it is given) and from then on hands text and values to the driver of the connection's own transaction.
Everything else stays: the statement is still written in Core, errors are SQLAlchemy's, rows have names.

    _BY_ID = prepared(select(meter).where(meter.c.meter == bindparam("of")))
    row = _BY_ID(conn, {"of": 17}).one_or_none()

Not for statements with expanding parameters, and not where a column's type converts values (none of ours does).

Where a database is asked over a wire, a statement costs more for the way than for itself. `together` asks several that
do not depend on each other at once; `later` runs one whose outcome nobody wants, and may send it along with the next.
What it comes to is known at the COMMIT at the latest, and then nothing of the transaction is stored. An embedded
database runs both at once.
"""

import collections
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from importlib import import_module
from typing import Any

from sqlalchemy import Connection, Executable, exc
from sqlalchemy.engine.interfaces import DBAPICursor

_NONE: Mapping[str, Any] = {}


class Result:
    """What a statement brought: its rows, read at once, or how many it changed."""

    __slots__ = ("_rows", "rowcount")

    def __init__(self, rows: list[Any], rowcount: int) -> None:
        self._rows = rows
        self.rowcount = rowcount

    def __iter__(self) -> Iterator[Any]:
        return iter(self._rows)

    def all(self) -> list[Any]:
        return self._rows

    def one(self) -> Any:
        """The only row; NoResultFound, MultipleResultsFound where there is none, or another."""
        if len(self._rows) != 1:
            raise exc.MultipleResultsFound("several rows") if self._rows else exc.NoResultFound("no row")
        return self._rows[0]

    def one_or_none(self) -> Any:
        return self.one() if self._rows else None

    def scalar_one(self) -> Any:
        return self.one()[0]

    def scalar_one_or_none(self) -> Any:
        return self.one()[0] if self._rows else None


def _rows_of(names: Sequence[str]) -> Callable[[Sequence[Any]], Any]:
    """What makes a row with names of a tuple."""
    make: Any = collections.namedtuple
    return make("Row", names, rename=True)._make  # type: ignore[no-any-return]


class _Compiled:
    """A statement for one database and one set of values."""

    def __init__(self, conn: Connection, statement: Any, names: Sequence[str]) -> None:
        compiled = statement.compile(dialect=conn.dialect, column_keys=list(names))
        written = compiled.construct_expanded_state(dict.fromkeys(names))  # lists of constants are written out
        missing = set(names) - set(written.parameters)
        if missing:
            raise ValueError(f"values: {', '.join(sorted(missing))} given, names of the statement expected")
        self.sql = written.statement
        self.dialect = conn.dialect
        self.defaults = {name: value for name, value in written.parameters.items() if name not in names}
        self.order: tuple[str, ...] | None = None if written.positiontup is None else tuple(written.positiontup)
        self.fixed = bool(self.defaults)
        self.row: Callable[[Sequence[Any]], Any] | None = None
        self.wired = _wire().Wired(self.sql) if conn.dialect.name == _WIRED else None

    def values(self, given: Mapping[str, Any]) -> Any:
        known = {**self.defaults, **given} if self.fixed else given
        return known if self.order is None else [known[name] for name in self.order]

    def named(self, names: list[str] | None, rows: list[tuple[Any, ...]]) -> list[Any]:
        """Rows with the names of their columns."""
        if names is None:
            return []
        if self.row is None:
            self.row = _rows_of(names)
        return [self.row(row) for row in rows]

    def rows(self, cursor: DBAPICursor) -> list[Any]:
        described: Sequence[Any] | None = cursor.description
        if described is None:  # it brings no rows
            return []
        if self.row is None:
            self.row = _rows_of([column[0] for column in described])
        return [self.row(row) for row in cursor.fetchall()]

    def run(self, conn: Connection, given: Mapping[str, Any]) -> Result:
        if self.wired is not None:
            return _over_the_wire(conn, [(self, given)])[0]
        raw: Any = conn.connection.dbapi_connection
        values = self.values(given)
        try:
            cursor = raw.execute(self.sql, values)
            return Result(self.rows(cursor), cursor.rowcount)
        except self.dialect.loaded_dbapi.Error as error:
            raise self.raised(conn, error, values) from error

    def raised(self, conn: Connection, error: Any, values: Any) -> exc.StatementError:
        """An error of the driver as SQLAlchemy raises it."""
        raw, kinds = conn.connection.dbapi_connection, self.dialect.loaded_dbapi.Error
        gone = self.dialect.is_disconnect(error, raw, None) or getattr(error, "sqlstate", "") == _OUTDATED
        raised: exc.StatementError = exc.DBAPIError.instance(
            self.sql, values, error, kinds, connection_invalidated=gone, dialect=self.dialect
        )
        if gone:
            conn.invalidate(error)
        return raised


class Prepared:
    """Called with a connection and values by name, it runs its `statement` there; see the module."""

    def __init__(self, statement: Executable) -> None:
        self.statement = statement
        self._compiled: dict[tuple[str, tuple[str, ...]], _Compiled] = {}

    def __call__(self, conn: Connection, values: Mapping[str, Any] = _NONE) -> Result:
        if conn.info.get(_LATER):
            return together(conn, (self, values))[0]
        return self.compiled(conn, values).run(conn, values)

    def later(self, conn: Connection, values: Mapping[str, Any] = _NONE) -> None:
        """Run it before whatever the transaction does next, or with it."""
        if conn.dialect.name == _WIRED:
            conn.info.setdefault(_LATER, []).append((self.compiled(conn, values), values))
        else:
            self.compiled(conn, values).run(conn, values)

    def compiled(self, conn: Connection, values: Mapping[str, Any]) -> _Compiled:
        """The statement as this database takes it with values of these names."""
        key = conn.dialect.name, tuple(values)
        found = self._compiled.get(key)
        if found is None:
            found = self._compiled[key] = _Compiled(conn, self.statement, key[1])
        return found


def prepared(statement: Executable) -> Prepared:
    """A statement of a hot path."""
    return Prepared(statement)


Asked = tuple[Prepared, Mapping[str, Any]]
_Job = tuple[_Compiled, Mapping[str, Any]]
_WIRED = "postgresql"
_OUTDATED = "0A000"  # among others: a table was changed under a statement that this connection has prepared
_LATER = "later"  # in `Connection.info`: what is to be sent before anything else


def together(conn: Connection, *asked: Asked) -> list[Result]:
    """The results of statements, each with its values, none of which needs another's; in their order."""
    jobs: list[_Job] = [(statement.compiled(conn, values), values) for statement, values in asked]
    if conn.dialect.name != _WIRED:
        return [compiled.run(conn, values) for compiled, values in jobs]
    waiting: list[_Job] = conn.info.pop(_LATER, [])
    return _over_the_wire(conn, waiting + jobs)[len(waiting) :]


def flush(conn: Connection) -> None:
    """Run what waits to be sent; before a COMMIT, and before statements that do not come through here."""
    waiting: list[_Job] = conn.info.pop(_LATER, [])
    if waiting:
        _over_the_wire(conn, waiting)


def commit(conn: Connection) -> None:
    """Run what waits to be sent, with the COMMIT behind it; where nothing waits, the transaction stays under way."""
    waiting: list[_Job] = conn.info.pop(_LATER, [])
    if waiting:
        _over_the_wire(conn, waiting, commit=True)


def forget(conn: Connection) -> None:
    """A transaction begins: what an earlier one left unsent died with it."""
    conn.info.pop(_LATER, None)


def _over_the_wire(conn: Connection, jobs: Sequence[_Job], *, commit: bool = False) -> list[Result]:
    """All of them with one wait."""
    wired = _wire()
    raw: Any = conn.connection.dbapi_connection
    first = jobs[0][0]
    sent = [wired.Sent(compiled.wired, compiled.values(values)) for compiled, values in jobs if compiled.wired]
    try:
        found = wired.run(raw, conn.info, sent, commit=commit)
    except first.dialect.loaded_dbapi.Error as error:
        raise first.raised(conn, error, None) from error
    return [Result(job[0].named(got.names, got.rows), got.changed) for job, got in zip(jobs, found, strict=True)]


@cache
def _wire() -> Any:
    """The module that talks to libpq, loaded where there is such a database."""
    return import_module("headend.store.wired")
