"""Which database this is: its signing epoch, credit source and currency, one row written once.

The key store holds epoch and source as well; the signer signs only while both agree, so that a database restored from
a copy cannot go on under the numbers of the one it was copied from.
"""

from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, insert, select

from headend.refusals import Refused
from headend.store.prepared import prepared
from headend.store.schema import credit_source, database, meter_trust
from meterlink.orders import SOURCE_TYPED

_ROW = prepared(select(database))
_SOURCE = prepared(
    select(func.coalesce(meter_trust.c.readback_source, database.c.source))
    .select_from(meter_trust.join(database, database.c.one == 1))
    .where(meter_trust.c.meter == bindparam("of"))
)


def establish(conn: Connection, now_s: int, signing_epoch: int, source: int, currency: int) -> Row[Any]:
    """Write the row where there is none, and return what stands there, changed or not.

    signing_epoch 1..65535 · source 1..65534 · currency ISO 4217 numeric, 0 = accounts in kWh. Raises Refused, also
    where the database keeps its books in another currency.
    """
    for field, value, least, most in (
        ("signing_epoch", signing_epoch, 1, 0xFFFF),
        ("source", source, 1, SOURCE_TYPED - 1),
        ("currency", currency, 0, 999),
    ):
        if not least <= value <= most:
            raise Refused(field, value, f"{least}..{most}")
    if conn.execute(select(database.c.one)).one_or_none() is None:
        row = {"one": 1, "signing_epoch": signing_epoch, "source": source, "currency": currency, "created_s": now_s}
        conn.execute(insert(database).values(row))
        opened = {"source": source, "signing_epoch": signing_epoch, "opened_s": now_s, "why": "first"}
        conn.execute(insert(credit_source).values(opened))
    standing = get(conn)
    if standing.currency != currency:
        raise Refused("currency", currency, f"{standing.currency}, in which this database keeps its books")
    return standing


def get(conn: Connection) -> Row[Any]:
    """The `database` row; raises Refused while nothing is established."""
    row: Row[Any] | None = _ROW(conn).one_or_none()
    if row is None:
        raise Refused("database", "none", "a database that was set up with its signing epoch and credit source")
    return row


def source_of(conn: Connection, meter: int) -> int:
    """The credit source that a meter's row counts: the database's own, or, after a restore, the one that is to be read
    back first.
    """
    return int(_SOURCE(conn, {"of": meter}).scalar_one())
