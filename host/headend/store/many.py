"""Statements for many rows at once: one that takes a list of keys, one that is run for each of many sets of values.

_OF = prepared(select(meter_reads).where(among(meter_reads.c.meter, "of")))
rows = _OF(conn, {"of": listed(conn, [17, 18])})

_MOVE = for_each(update(…).where(… == bindparam("of")).values(top=bindparam("top")), "top", "of")
_MOVE(conn, [(96, 17), (96, 18)])
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Executable, bindparam
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.types import NullType


class Among(ColumnElement[bool]):
    """See `among`."""

    inherit_cache = False
    type: Any = NullType()  # as a boolean it would be compared with 1, and no index be used

    def __init__(self, column: Column[Any], name: str) -> None:
        self.column = column
        self.numbers = bindparam(name, type_=NullType())


def among(column: Column[Any], name: str) -> ColumnElement[bool]:
    """Whether a column of whole numbers has one of those in the value `name`, which `listed` has made."""
    return Among(column, name)


@compiles(Among, "sqlite")
def _sqlite(element: Among, compiler: Any, **given: Any) -> str:
    column, numbers = compiler.process(element.column, **given), compiler.process(element.numbers, **given)
    return f"{column} IN (SELECT value FROM json_each({numbers}))"  # noqa: S608 - names alone


@compiles(Among, "postgresql")
def _postgresql(element: Among, compiler: Any, **given: Any) -> str:
    column, numbers = compiler.process(element.column, **given), compiler.process(element.numbers, **given)
    return f"{column} = ANY(CAST(CAST({numbers} AS TEXT) AS BIGINT[]))"


def listed(conn: Connection, numbers: Sequence[int]) -> str:
    """A list of whole numbers as the database takes it in one value."""
    written = ",".join(map(str, numbers))
    return f"{{{written}}}" if conn.dialect.name == "postgresql" else f"[{written}]"


class ForEach:
    """See `for_each`."""

    def __init__(self, statement: Executable, names: tuple[str, ...]) -> None:
        self._statement: Any = statement
        self._names = names
        self._texts: dict[str, tuple[str, tuple[int, ...] | None]] = {}

    def __call__(self, conn: Connection, rows: Sequence[tuple[Any, ...]]) -> int:
        """Run it for each tuple of values; returns how many rows were changed in all."""
        if not rows:
            return 0
        found = self._texts.get(conn.dialect.name)
        if found is None:
            found = self._texts[conn.dialect.name] = self._compiled(conn)
        sql, order = found
        values: list[Any]
        if order is None:
            values = [dict(zip(self._names, row, strict=True)) for row in rows]
        else:
            values = (
                list(rows) if order == tuple(range(len(order))) else [tuple(row[at] for at in order) for row in rows]
            )
        return conn.exec_driver_sql(sql, values).rowcount

    def _compiled(self, conn: Connection) -> tuple[str, tuple[int, ...] | None]:
        compiled = self._statement.compile(dialect=conn.dialect, column_keys=list(self._names))
        order = None if compiled.positiontup is None else tuple(map(self._names.index, compiled.positiontup))
        return str(compiled), order


def for_each(statement: Executable, *names: str) -> ForEach:
    """A statement that is run for many tuples of values, in the order of `names`; best in that of the statement."""
    return ForEach(statement, names)
