"""Pauses: times in which the meters of an area are not read, since somebody works on lines or network there.

Orders go all the same. What would have been asked for meanwhile is asked for afterwards, spread over some minutes.
"""

from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Connection, Row, bindparam, insert, select, update

from headend import audit
from headend.access import areas
from headend.collection.words import PAUSE_ENDED, PAUSE_SET
from headend.refusals import Refused
from headend.store.prepared import prepared
from headend.store.schema_collection import collection_pause

MAX_S = 30 * 86_400

_pause = collection_pause.c
_NOW = bindparam("now", type_=BigInteger)
_STANDING = prepared(select(_pause.area, _pause.until_s).where(_pause.from_s <= _NOW, _pause.until_s > _NOW))
_COMING = select(collection_pause).where(_pause.until_s > _NOW).order_by(_pause.from_s, _pause.id).limit(1000)
_END = update(collection_pause).where(_pause.id == bindparam("of"), _pause.until_s > _NOW).values(until_s=_NOW)


class UnknownPause(Refused):
    """There is no such pause, or it is over."""

    def __init__(self, number: object) -> None:
        super().__init__("pause", number, "the number of a pause that is not over")


class Standing(NamedTuple):
    """A pause that is in force."""

    area: str
    until_s: int


def put(conn: Connection, now_s: int, actor: str, area: str, from_s: int, until_s: int, why: str) -> int:
    """Pause the reading of an area; returns its number. Raises Refused."""
    areas.check(area)
    if not now_s < until_s <= now_s + MAX_S:
        raise Refused("until_s", until_s, f"a second to come, within {MAX_S // 86_400} days")
    if not now_s - MAX_S <= from_s < until_s:
        raise Refused("from_s", from_s, "a second before until_s")
    row = {"area": area, "from_s": from_s, "until_s": until_s, "actor": actor[:80], "why": why[:200]}
    number = int(conn.execute(insert(collection_pause).returning(_pause.id), row).scalar_one())
    detail: dict[str, int | str | None] = {"area": area, "from_s": from_s, "until_s": until_s}
    audit.record(conn, now_s, actor, PAUSE_SET, f"collection_pause:{number}", detail)
    return number


def end(conn: Connection, now_s: int, actor: str, number: int) -> None:
    """End a pause now; raises UnknownPause where it is over already."""
    if not conn.execute(_END, {"of": number, "now": now_s}).rowcount:
        raise UnknownPause(number)
    audit.record(conn, now_s, actor, PAUSE_ENDED, f"collection_pause:{number}")


def coming(conn: Connection, now_s: int) -> list[Row[Any]]:
    """Rows of those that are in force or to come."""
    return list(conn.execute(_COMING, {"now": now_s}))


def standing(conn: Connection, now_s: int) -> list[Standing]:
    """Those in force now."""
    return [Standing(*row) for row in _STANDING(conn, {"now": now_s})]


def over_s(standing: list[Standing], area: str) -> int | None:
    """When the last pause of this area that is in force ends; None where there is none."""
    return max((one.until_s for one in standing if areas.covers(one.area, area)), default=None)
