"""Finding refunds, and the area that each belongs to."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select

from headend.access import areas
from headend.store.schema import meter
from headend.store.schema_refunds import refund

areas.OF["refund"] = (
    select(meter.c.area).join(refund, refund.c.meter == meter.c.meter).where(refund.c.id == bindparam("id"))
)


def page(
    conn: Connection,
    held_in: Sequence[str],
    *,
    before: int,
    limit: int,
    number: int | None = None,
    state: str | None = None,
    payment: tuple[str, str] | None = None,
) -> list[Row[Any]]:
    """Refunds of meters in these areas with an id below `before`, newest first; of one meter, in one state, of one
    payment (channel, id) where that is given."""
    found = select(refund).join(meter, meter.c.meter == refund.c.meter).where(refund.c.id < before)
    found = found.where(areas.within(meter.c.area, held_in))
    if number is not None:
        found = found.where(refund.c.meter == number)
    if state is not None:
        found = found.where(refund.c.state == state)
    if payment is not None:
        found = found.where(refund.c.channel == payment[0], refund.c.payment_id == payment[1])
    return list(conn.execute(found.order_by(refund.c.id.desc()).limit(limit)))
