"""When a meter is next asked for a report: one column that payments, orders, links and turns bring forward."""

from sqlalchemy import BigInteger, Connection, bindparam, update

from headend.store.prepared import prepared
from headend.store.schema import meter_state

_BY = prepared(
    update(meter_state)
    .where(
        meter_state.c.meter == bindparam("of", type_=BigInteger),
        meter_state.c.next_ask_s > bindparam("latest", type_=BigInteger),
    )
    .values(next_ask_s=bindparam("latest", type_=BigInteger))
)


def ask_by(conn: Connection, meter: int, at_s: int) -> None:
    """Ask the meter for a report at `at_s` at the latest; where that comes earlier anyhow, nothing changes."""
    _BY(conn, {"of": meter, "latest": at_s})
