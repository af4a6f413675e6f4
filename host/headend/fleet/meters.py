"""Meters as the head end knows them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, insert, select

from headend.access import areas
from headend.access.areas import EVERYWHERE
from headend.collection.enrolment import enrol
from headend.fleet import address, identities
from headend.ledger import accounts
from headend.refusals import Refused
from headend.store import UnknownMeter
from headend.store.prepared import prepared
from headend.store.schema import meter, meter_state, meter_trust
from headend.store.schema_fleet import meter_life
from headend.store.schema_readings import meter_reads
from headend.workers.homes import bus_of
from meterlink import bodies, tariff
from meterlink.orders import MAX_METER, OrderError

MQTT = "mqtt"
MODBUS = "modbus"
CARRIERS = (MQTT, MODBUS)
MAX_LABEL = 200

_THERE = prepared(select(meter.c.meter).where(meter.c.meter == bindparam("of")))
_NEW = prepared(insert(meter))
_BESIDE = tuple(prepared(insert(table)) for table in (meter_state, meter_trust, meter_reads))
_LIFE = prepared(insert(meter_life))


@dataclass(frozen=True)
class MeterRecord:
    """A meter to be added.

    meter 1..10^14-1 · carrier "mqtt" or "modbus" · address: of `fleet.address` for modbus, "" for mqtt · tariff,
    limits: encoded bodies · account_epoch 1..65535 · tag_key_version 0..255 · interval_minutes: a divisor of 60 ·
    label: at most 200 printable characters.
    """

    meter: int
    carrier: str
    address: str
    tariff: bytes
    limits: bytes
    account_epoch: int = 1
    tag_key_version: int = 1
    interval_minutes: int = 15
    label: str = ""


class MeterExists(Refused):
    """The number is taken."""


def check(record: MeterRecord) -> None:
    """Raise Refused for the first field that does not fit."""
    _range("meter", record.meter, 1, MAX_METER)
    _range("account_epoch", record.account_epoch, 1, 0xFFFF)
    _range("tag_key_version", record.tag_key_version, 0, 0xFF)
    _range("interval_minutes", record.interval_minutes, 1, 60)
    if 60 % record.interval_minutes:
        raise Refused("interval_minutes", record.interval_minutes, "a divisor of 60")
    if record.carrier not in CARRIERS:
        raise Refused("carrier", record.carrier, f"one of {', '.join(CARRIERS)}")
    if record.carrier == MODBUS:
        address.parse(record.address)
    elif record.address:
        raise Refused("address", record.address, "nothing: an MQTT meter is found by its number")
    if len(record.label) > MAX_LABEL or not record.label.isprintable():
        raise Refused("label", record.label, f"at most {MAX_LABEL} printable characters")
    for field, body in (("tariff", record.tariff), ("limits", record.limits)):
        wrong = _wrong(field, body)
        if wrong:
            raise Refused(field, body.hex(), f"a body that a meter takes ({wrong})")


@lru_cache(maxsize=256)
def _wrong(field: str, body: bytes) -> str:
    """Why a meter would not take a body; "": it would. Many meters have the same."""
    try:
        (tariff.decode if field == "tariff" else bodies.decode_limits)(body)
    except OrderError as error:
        return str(error) or type(error).__name__
    return ""


def add_meter(conn: Connection, now_s: int, record: MeterRecord) -> None:
    """Take a meter into the fleet, with its state row and its customer account; raises Refused, MeterExists."""
    check(record)
    if _THERE(conn, {"of": record.meter}).one_or_none() is not None:
        raise MeterExists("meter", record.meter, "a number that is not in the fleet yet")
    _NEW(conn, {**vars(record), "bus": bus_of(record.carrier, record.address), "added_s": now_s})
    for beside in _BESIDE:
        beside(conn, {"meter": record.meter})
    _LIFE(conn, {"meter": record.meter, "changed_s": now_s})
    found_by = (identities.LABEL, record.label), (identities.ADDRESS, record.address)
    identities.add_many(conn, ((record.meter, kind, text) for kind, text in found_by))
    enrol(conn, now_s, record.meter)
    accounts.open_account(conn, accounts.of_meter(record.meter, record.account_epoch))


def get_meter(conn: Connection, number: int) -> Row[Any]:
    """The `meter` row; raises UnknownMeter."""
    row = conn.execute(select(meter).where(meter.c.meter == number)).one_or_none()
    if row is None:
        raise UnknownMeter(number)
    return row


def list_meters(
    conn: Connection, *, after: int = 0, limit: int = 1000, within: Sequence[str] = (EVERYWHERE,)
) -> list[Row[Any]]:
    """Up to `limit` `meter` rows with numbers above `after`, in rising order; those in the areas `within` alone."""
    chosen = select(meter).where(meter.c.meter > after, areas.within(meter.c.area, within))
    return list(conn.execute(chosen.order_by(meter.c.meter).limit(limit)))


def newest_key_version(conn: Connection) -> int:
    """The newest version of per-meter keys in the fleet; 1 where no meter is."""
    return conn.execute(select(func.max(meter.c.tag_key_version))).scalar_one() or 1


def _range(field: str, value: int, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise Refused(field, value, f"{low}..{high}")
