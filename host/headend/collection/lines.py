"""How lines answered, day by day: what carriers counted is added up here, a row for each unit on each line and day."""

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, Integer, bindparam, insert, select, update

from headend.access import areas
from headend.collection.line_counts import COUNTS, Counts, Times
from headend.store.prepared import prepared
from headend.store.schema import meter
from headend.store.schema_collection import line_quality

DAY_S = 86_400
_of = line_quality.c
_MINE = (_of.day == bindparam("on"), _of.link == bindparam("via"), _of.unit == bindparam("of_unit"))
_TIMES = prepared(select(_of.times).where(*_MINE))
_ROW = prepared(insert(line_quality))
_ADD = prepared(
    update(line_quality)
    .where(*_MINE)
    .values({**{name: _of[name] + bindparam(f"more_{name}") for name in COUNTS}, "times": bindparam("all_times")})
)
_OF_DAYS = (
    select(line_quality)
    .where(_of.day >= bindparam("first", type_=Integer), _of.day <= bindparam("last", type_=Integer))
    .order_by(_of.link, _of.unit)
)


def store(conn: Connection, now_s: int, counted: Mapping[tuple[str, int], Counts]) -> None:
    """Add what a carrier counted to the day of UTC that it is now. A line has one carrier at a time."""
    day = now_s // DAY_S
    for (link, unit), counts in sorted(counted.items()):
        mine = {"on": day, "via": link[:200], "of_unit": unit}
        packed: bytes | None = _TIMES(conn, mine).scalar_one_or_none()
        values = {name: getattr(counts, name) for name in COUNTS}
        if packed is None:
            _ROW(conn, {"day": day, "link": link[:200], "unit": unit, **values, "times": counts.times.packed()})
            continue
        times = Times(packed)
        times.add_all(counts.times)
        _ADD(conn, {**mine, **{f"more_{name}": value for name, value in values.items()}, "all_times": times.packed()})


def quality(conn: Connection, first_day: int, last_day: int, link: str = "") -> dict[tuple[str, int], Counts]:
    """(link, unit) -> what was counted in these days of UTC; of one link where it is given."""
    found: dict[tuple[str, int], Counts] = {}
    wanted = _OF_DAYS.where(_of.link == link) if link else _OF_DAYS
    for row in conn.execute(wanted, {"first": first_day, "last": last_day}):
        counts = Counts(**{name: getattr(row, name) for name in COUNTS}, times=Times(row.times))
        found.setdefault((row.link, row.unit), Counts()).add_all(counts)
    return found


def seen_by(conn: Connection, within: Sequence[str]) -> set[str] | None:
    """Addresses of Modbus meters in these areas; None where all are."""
    if areas.EVERYWHERE in within:
        return None
    query = select(meter.c.address).where(meter.c.carrier == "modbus", areas.within(meter.c.area, within))
    return set(conn.execute(query).scalars())


def by_line(counted: Mapping[tuple[str, int], Counts]) -> dict[str, Counts]:
    """The same, all units of a line together."""
    found: dict[str, Counts] = {}
    for (link, _), counts in counted.items():
        found.setdefault(link, Counts()).add_all(counts)
    return found
