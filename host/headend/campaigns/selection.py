"""Which meters a campaign is about: an area, a type, a carrier, or a list of numbers.

`{"area": "north/f-1", "type": "class-70", "carrier": "mqtt"}` or `{"meters": [17, 18, …], …}`; with a list, type and
carrier exclude those of it that are of another.
"""

from bisect import bisect_right
from itertools import pairwise
from typing import Any

from sqlalchemy import BigInteger, Connection, bindparam, select

from headend.access import areas
from headend.refusals import Refused
from headend.store.schema import meter, meter_state
from headend.store.schema_fleet import meter_life, meter_type

MAX_METERS = 300_000
CARRIERS = ("mqtt", "modbus")
KEYS = frozenset({"area", "type", "carrier", "meters"})

_FACTS = (
    select(
        meter.c.meter,
        meter.c.area,
        meter.c.carrier,
        meter_state.c.contact,
        meter_state.c.alarms,
        meter_state.c.report,
        meter_life.c.state.label("life"),
        meter_life.c.type,
        meter_type.c.relay,
        meter_type.c.firmware.label("family"),
    )
    .join(meter_state, meter_state.c.meter == meter.c.meter)
    .outerjoin(meter_life, meter_life.c.meter == meter.c.meter)
    .outerjoin(meter_type, meter_type.c.type == meter_life.c.type)
    .order_by(meter.c.meter)
)
_LISTED = _FACTS.where(meter.c.meter.in_(bindparam("some", expanding=True)))


def check(given: Any) -> dict[str, Any]:
    """The selection, as it is; raises Refused."""
    if not isinstance(given, dict) or not set(given) <= KEYS or not given:
        raise Refused("selection", given, f"an object with some of {', '.join(sorted(KEYS))}")
    if "area" in given:
        areas.check(given["area"])
    if given.get("carrier", "mqtt") not in CARRIERS:
        raise Refused("selection.carrier", given["carrier"], f"one of {', '.join(CARRIERS)}")
    if not isinstance(given.get("type", ""), str):
        raise Refused("selection.type", given["type"], "the name of a type of meters")
    if "meters" in given:
        _check_list(given["meters"])
    elif "area" not in given:
        raise Refused("selection", given, "an area (may be empty: everywhere), or meters")
    return given


def _check_list(meters: Any) -> None:
    if not isinstance(meters, list) or not 1 <= len(meters) <= MAX_METERS or set(map(type, meters)) != {int}:
        raise Refused("selection.meters", None, f"1..{MAX_METERS} numbers of meters")
    for number, after in pairwise(meters):
        if after <= number:
            raise Refused("selection.meters", after, f"rising numbers, each once: after {number}")


def some(conn: Connection, chosen: dict[str, Any], seen: list[str], after: int, limit: int) -> list[tuple[int, Any]]:
    """The next meters above `after`: numbers with their facts, None where the fleet, or what the author may see of it,
    has no such meter."""
    if "meters" in chosen:
        numbers = chosen["meters"][bisect_right(chosen["meters"], after) :][:limit]
        mine = _LISTED.where(areas.within(meter.c.area, _areas(chosen, seen)))
        known = {row.meter: row for row in conn.execute(mine, {"some": numbers})} if numbers else {}
        return [(number, known.get(number)) for number in numbers]
    mine = _FACTS.where(areas.within(meter.c.area, _areas(chosen, seen)))
    mine = mine.where(meter.c.meter > bindparam("after", type_=BigInteger)).limit(limit)
    for name, column in (("type", meter_life.c.type), ("carrier", meter.c.carrier)):
        if chosen.get(name):
            mine = mine.where(column == chosen[name])
    return [(row.meter, row) for row in conn.execute(mine, {"after": after})]


def _areas(chosen: dict[str, Any], seen: list[str]) -> tuple[str, ...]:
    return areas.narrowed(seen, chosen.get("area", areas.EVERYWHERE))
