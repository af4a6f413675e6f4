"""The sealed books as lines of JSON, for the verifier and for whoever keeps a copy (docs/books.md)."""

import json
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, exists, func, select

from headend.books.chain import CHAINS
from headend.store.schema_books import seal, seal_chain

FORMAT = 1
_AT_A_TIME = 2000

Row = tuple[str, int | None, bytes | None, list[Any] | None]

_ORIGIN = select(func.max(seal_chain.c.origin))  # a chain in which nothing was sealed has none yet
_SEALED = {
    name: select(seal.c.seq, seal.c.hash, *one.columns)
    .select_from(seal.outerjoin(one.table, one.table.c.id == seal.c.row_id))
    .where(seal.c.chain == name)
    .order_by(seal.c.seq)
    for name, one in CHAINS.items()
}
_LEFT = {
    name: select(*one.columns)
    .where(~exists().where(seal.c.chain == name, seal.c.row_id == one.table.c.id))
    .order_by(one.table.c.id)
    for name, one in CHAINS.items()
}


def origin(conn: Connection) -> str:
    """Which database the chains began in; "" before the first seal."""
    return str(conn.execute(_ORIGIN).scalar_one())


def rows(conn: Connection) -> Iterator[Row]:
    """(chain, number, hash, columns) of each chain in the order of sealing, then what is not sealed, without number and
    hash. A seal whose row is gone has no columns.
    """
    streamed = conn.execution_options(yield_per=_AT_A_TIME)
    for chain in CHAINS:
        for seq, told, *row in streamed.execute(_SEALED[chain]):
            yield chain, seq, bytes(told), None if row[0] is None else row
        for left in streamed.execute(_LEFT[chain]):
            yield chain, None, None, list(left)


def lines(conn: Connection) -> Iterator[str]:
    """The lines of an export."""
    yield _line({"format": FORMAT, "origin": origin(conn)})
    for chain, seq, told, row in rows(conn):
        yield _line((chain, seq, None if told is None else told.hex(), row))


def _line(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False) + "\n"
