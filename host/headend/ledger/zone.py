"""Local days: those of the utility's time zone, counted since 1970, as ordinary calendars have them."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, insert, select, update

from headend import audit
from headend.refusals import Refused
from headend.store.prepared import prepared
from headend.store.schema_money import utility_zone

DEFAULT = "UTC"

_NAME = prepared(select(utility_zone.c.name).where(utility_zone.c.one == 1))
_EPOCH = date(1970, 1, 1)


def of(conn: Connection) -> ZoneInfo:
    """The utility's time zone."""
    return ZoneInfo(_NAME(conn).scalar_one_or_none() or DEFAULT)


def put(conn: Connection, now_s: int, name: str, actor: str) -> None:
    """Set the time zone by its IANA name; days that were counted already stay as they are. Raises Refused."""
    try:
        ZoneInfo(name)
    except (KeyError, OSError, ValueError):
        raise Refused("zone", name, 'a time zone such as "Asia/Shanghai"') from None
    if not conn.execute(update(utility_zone).values(name=name)).rowcount:
        conn.execute(insert(utility_zone).values(one=1, name=name))
    audit.record(conn, now_s, actor, "zone.set", "utility", {"name": name})


def day_of(zone: ZoneInfo, unix_s: int) -> int:
    """The local day of a UTC second."""
    return (datetime.fromtimestamp(unix_s, UTC).astimezone(zone).date() - _EPOCH).days


def start_s(zone: ZoneInfo, day: int) -> int:
    """The first UTC second of a local day."""
    at = date_of(day)
    return int(datetime(at.year, at.month, at.day, tzinfo=zone).timestamp())


def date_of(day: int) -> date:
    return _EPOCH + timedelta(days=day)


def read_day(field: str, text: str) -> int:
    """The number of a day that is written as a date such as 2026-01-31; raises Refused."""
    try:
        return (date.fromisoformat(text) - _EPOCH).days
    except ValueError:
        raise Refused(field, text, "a date such as 2026-01-31") from None


def day_text(day: int) -> str:
    """A day as dates are written."""
    return date_of(day).isoformat()


def year_end(day: int) -> int:
    """The last day of the year that a day is in."""
    return (date(date_of(day).year, 12, 31) - _EPOCH).days
