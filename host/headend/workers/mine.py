"""Statements about meters, narrowed to those whose home one worker holds at this moment, by the database's clock.

_ALL = select(outbox.c.order_id).where(…)
_MINE = mine.alone(_ALL, outbox.c.meter)
conn.execute(_MINE, {…, **mine.values(conn, holder)})
"""

from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Connection, Select, bindparam

from headend.store import sql
from headend.store.schema import meter
from headend.store.schema_workers import lease
from headend.workers.homes import BUS, HOME, LINE, SHARD
from headend.workers.leases import LONGEST_S


def alone(statement: Select[Any], number: ColumnElement[Any]) -> Select[Any]:
    """Of the rows of a statement those whose meter (the column `number`) has its home with the holder."""
    now = bindparam("mine_now", type_=BigInteger)
    held = (
        (lease.c.number == HOME)
        & lease.c.kind.in_((SHARD, BUS, LINE))
        & (lease.c.holder == bindparam("mine_holder"))
        & (lease.c.until_s > now)
        & (lease.c.until_s <= now + LONGEST_S)
    )
    return statement.join(meter, meter.c.meter == number).join(lease, held)


def values(conn: Connection, holder: str) -> dict[str, object]:
    """What such a statement wants to know besides."""
    return {"mine_now": sql.now_s(conn), "mine_holder": holder}
