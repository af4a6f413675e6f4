"""Lists of exclusions, for people."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select

from headend.access import areas
from headend.registry.bars import STANDS
from headend.store.schema import meter
from headend.store.schema_registry import exclusion

# Where the exclusion of a path in the API stands: in its meter's area.
areas.OF["exclusion"] = (
    select(meter.c.area).join(exclusion, exclusion.c.meter == meter.c.meter).where(exclusion.c.id == bindparam("id"))
)


def listed(
    conn: Connection,
    now_s: int,
    prefixes: Sequence[str],
    *,
    kind: str | None = None,
    meter_id: int | None = None,
    standing: bool = True,
    after: int = 0,
    limit: int = 50,
) -> list[Row[Any]]:
    """Exclusions with ids above `after` in these areas, by id: `standing` ones, or all."""
    mine = select(exclusion).join(meter, meter.c.meter == exclusion.c.meter).where(exclusion.c.id > after)
    mine = mine.where(areas.within(meter.c.area, prefixes))
    if kind is not None:
        mine = mine.where(exclusion.c.kind == kind)
    if meter_id is not None:
        mine = mine.where(exclusion.c.meter == meter_id)
    if standing:
        mine = mine.where(STANDS)
    found = conn.execute(mine.order_by(exclusion.c.id).limit(limit), {"now": now_s} if standing else {})
    return list(found.all())
